"""The hidden layer of a graph network as a picture: each node is a dot, close to similar nodes.

    beyondprop compare --task cora-gcn --output runs/cora-gcn
    python -m benchmarks.graphs.picture runs/cora-gcn

The dots are placed by t-SNE (van der Maaten and Hinton 2008), which does not use the classes:
`pip install ".[graphs]"` installs it. Distances between distant groups have no meaning.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.common.command_line import command_line
from benchmarks.common.plotting import COLOURS, GREY, svg
from beyondprop.errors import UserError, install
from beyondprop.registry import file_name
from beyondprop.tasks import Data, Task, find

PALETTE = (*COLOURS, "#56b4e9", "#f0e442", "#000000", "#e69f00", GREY)


def main(
    comparison: Path,
    rules: list[str] | None = None,
    seed: int = 0,
    output: Path = Path("results/graphs/hidden.svg"),
) -> None:
    """Draw the hidden layer of a comparison's runs side by side.

    Args:
        comparison: The folder of a comparison on a task of node classification.
        rules: Their names in its table; backprop and dfa by default.
        seed: The seed of the runs.
        output: An SVG file.
    """
    spec = json.loads((comparison / "spec.json").read_text("utf-8"))
    task = find(spec["task"])
    data = task.load(None)
    chosen = rules or ["backprop", "dfa"]
    with svg(output, 4.5 * len(chosen), 5.2) as figure:
        panels = figure.subplots(1, len(chosen), squeeze=False)[0]
        for axes, rule in zip(panels, chosen, strict=True):
            folder = comparison / "runs" / f"{file_name(rule)}-seed{seed}"
            draw(axes, placed(hidden(task, data, folder)), data)
            axes.set_title(f"{rule}, test {score(folder):.1%}", fontsize=10)
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(
            handles, names, loc="outside lower center", ncols=4, frameon=False, markerscale=3
        )
    print(output)


def hidden(task: Task, data: Data, folder: Path) -> Tensor:
    """Return the hidden features of all nodes in a run's network, ``(nodes, features)``.

    Raises:
        UserError: The run has no weights.
    """
    path = folder / "weights.safetensors"
    if not path.exists():
        raise UserError(f"there is no run of this rule and seed: {path} is missing")
    model: Any = task.model()
    model.load_state_dict(load_file(path))
    found: list[Tensor] = []
    model.activation.register_forward_hook(lambda *given: found.append(given[2]))
    with torch.no_grad():
        model.eval()(*data.test.batch(slice(None))[0])
    return found[0]


def score(folder: Path) -> float:
    """Return a run's score on the test nodes."""
    found: float = json.loads((folder / "record.json").read_text("utf-8"))["test"]["score"]
    return found


def placed(features: Tensor) -> NDArray[Any]:
    """Return a position in the plane for each row.

    Raises:
        UserError: openTSNE is not installed.
    """
    try:
        from openTSNE import TSNE
    except ImportError:
        raise UserError(f"the picture needs openTSNE: {install('graphs')}") from None
    return np.asarray(TSNE(perplexity=30, random_state=0, n_jobs=1).fit(features.numpy()))


def draw(axes: Any, places: NDArray[Any], data: Data) -> None:
    """Draw the nodes in the colours of their classes."""
    classes = data.train.graph.classes.numpy()  # type: ignore[attr-defined]
    for number, (name, colour) in enumerate(zip(data.classes, PALETTE, strict=False)):
        own = places[classes == number]
        axes.scatter(own[:, 0], own[:, 1], s=3, color=colour, label=name, linewidths=0)
    axes.set_xticks([])
    axes.set_yticks([])


if __name__ == "__main__":
    command_line(main)
