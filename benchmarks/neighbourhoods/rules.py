"""Pieces that learn from a trained network with rules other than backprop, and as slot machines.

    python -m benchmarks.neighbourhoods.rules

The teacher is a fully connected network on 10,000 images of Fashion-MNIST. Each of its two pieces,
two layers with ReLU, is replaced by a piece of half the inner width, whose layers are the blocks
that a rule teaches, or by a slot machine of full width. Each network is assembled from the students
of one learning rate, the one with the best validation score; while the best is at an end of the
tried rates, further rates are tried, at most three.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.progress import Progress
from torch import nn

from benchmarks.common.cached_runs import Figures, cached_runs
from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.common.tables import Table
from benchmarks.common.timing import set_threads
from benchmarks.neighbourhoods import tables
from benchmarks.neighbourhoods.rates import searched
from benchmarks.neighbourhoods.tasks import part_of_fashion
from beyondprop import rules
from beyondprop.experiment.assess import score
from beyondprop.experiment.distil_data import Inputs
from beyondprop.neighbourhoods import Library, Recipe, calls, distil, heal, make, merged, split
from beyondprop.pieces.distances import RelativeError
from beyondprop.registry import Spec
from beyondprop.tasks import Data, find

WIDTH, BATCH = 256, 64
PIECES = ("1", "2")
HALF: Spec = {"candidate": "narrower", "share": 0.5}
WAYS: dict[str, tuple[str, Spec]] = {
    **{rule: (rule, HALF) for rule in ("backprop", "dfa", "fa", "kp", "usf")},
    "backprop, slot machine": ("backprop", {"candidate": "slot-machine", "slots": 8}),
}
"""The rule, and the candidate that it teaches, by name."""
UNTAUGHT = "half the width, not taught"
HIDDEN = Progress(disable=True)
TASK = find("fashion-mlp")


def piece() -> nn.Sequential:
    """Return a piece of the teacher: two layers, one block each."""
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())


def network() -> nn.Module:
    """Return the untrained teacher, from images to 10 logits."""
    first = nn.Sequential(nn.Flatten(), nn.Linear(784, WIDTH), nn.ReLU())
    return nn.Sequential(first, piece(), piece(), nn.Linear(WIDTH, 10))


class Labelled:
    """The training images with their labels, in batches, in a fixed order."""

    def __init__(self, data: Data) -> None:
        self.train = data.train

    def __len__(self) -> int:
        return -(-len(self.train) // BATCH)

    def __iter__(self) -> Iterator[Any]:
        return self.train.batches(BATCH)


def taught(data: Data, seed: int, epochs: int) -> nn.Module:
    """Return a trained teacher."""
    torch.manual_seed(seed)
    model, batches = network(), Labelled(data)
    heal(model, batches, TASK.loss, Recipe(epochs=epochs, batch_size=BATCH), HIDDEN)
    return model.eval()


def of_seed(seed: int, epochs: int, teacher_epochs: int, rates: tuple[float, ...]) -> Figures:
    """Return the test scores of the teacher and of every way, with their pieces' errors."""
    set_threads(1)
    data = part_of_fashion(None)
    teacher = taught(data, seed, teacher_epochs)
    found: Figures = {
        "teacher": judged(teacher, data),
        UNTAUGHT: untaught(teacher, data),
    }
    for name, (rule, candidate) in WAYS.items():
        way = partial(of_rate, teacher, data, rule, candidate, seed, epochs)
        found[name] = searched(rates, way)
    return found


def untaught(teacher: nn.Module, data: Data) -> Figures:
    """Return the score of the teacher with untrained pieces of half the width."""
    parts, pieces = split(teacher, list(PIECES)), {}
    inputs, _ = data.validation.batch(slice(0, len(data.validation)))
    found, errors = calls(teacher, parts, inputs), []
    for part in parts:
        call = found[part.name]
        pieces[part] = make(HALF).build(part.piece(teacher), call).eval()
        errors.append(RelativeError()(call.of(pieces[part]), call.output).item())
    return judged(merged(teacher, pieces), data) | {"errors": errors}


def of_rate(
    teacher: nn.Module,
    data: Data,
    rule: str,
    candidate: Spec,
    seed: int,
    epochs: int,
    rate: float,
) -> Figures:
    """Return the score of the teacher with the students of one learning rate."""
    recipe = Recipe(
        epochs=epochs,
        batch_size=BATCH,
        learning_rate=rate,
        rule=rules.make(rule, seed),
        blocks=[("0", "1"), ("2", "3")],
        seed=seed,
    )
    with TemporaryDirectory() as folder:
        library = distil(
            teacher,
            split(teacher, list(PIECES)),
            Inputs(data.train, BATCH),
            Path(folder),
            {"student": make(candidate)},
            recipe=recipe,
            validation=Inputs(data.validation, BATCH),
            progress=HIDDEN,
        )
        whole = library.merge(teacher, dict.fromkeys(PIECES, "student"))
    return judged(whole, data) | {"rate": rate, "errors": errors(library)}


def errors(library: Library) -> list[float]:
    """Return the relative error of each piece on the validation data."""
    return [library.students[name]["student"].error for name in PIECES]


def judged(model: nn.Module, data: Data) -> dict[str, float]:
    """Return the scores on validation and test data."""
    held, last = (score(TASK, model, part) for part in (data.validation, data.test))
    return {
        "validation_score": held.score,
        "validation_loss": held.loss,
        "score": last.score,
    }


def main(
    epochs: int = 4,
    teacher_epochs: int = 8,
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3, 1e-2),
    repeats: int = 3,
    workers: int = 1,
    runs: Path = Path("runs/neighbourhoods"),
    output: Path = Path("results/neighbourhoods/rules.json"),
) -> None:
    """Teach pieces with each rule, and assemble them.

    Args:
        epochs: Passes over the activations.
        teacher_epochs: Passes of the teachers' training.
        rates: Learning rates; more are tried if the best is at an end.
        repeats: The number of seeds, from 0.
        workers: Parallel processes.
        runs: Folder that caches each seed.
        output: The file of the record; the table is written next to it.
    """
    started = datetime.now(UTC)
    asked = {"epochs": epochs, "teacher_epochs": teacher_epochs, "rates": list(rates)}
    job = partial(of_seed, epochs=epochs, teacher_epochs=teacher_epochs, rates=tuple(rates))
    wanted = {f"seed {seed}": partial(job, seed) for seed in range(repeats)}
    folder = runs / f"rules-{epochs}-{teacher_epochs}-{len(rates)}"
    rows = list(cached_runs(folder, wanted, workers).values())
    save("neighbourhoods/rules", asked | {"seeds": repeats}, rows, table(rows), started, output)


def table(rows: list[Figures]) -> Table:
    """Return the table of the results."""
    return Table(
        "Pieces taught by each rule",
        *tables.by_rule(rows),
        notes=(
            f"Accuracy on test data, mean over {len(rows)} seeds; ± is half of Student's 95% "
            "interval; the difference from backprop is paired by seed. Error: the squared distance "
            "from the teacher's outputs over their squared norm, mean over pieces.",
        ),
    )


if __name__ == "__main__":
    command_line(main)
