"""Tasks on nodes of a graph: Cora with five networks, and any data set in Planetoid's files.

The published rows of direct feedback alignment and of backprop on Cora differ in weight decay and
in dropout (Launay et al. 2020). Here a network's dropout is the same for all rules, and every rule
tries the same two weight decays.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from beyondprop.errors import UserError
from beyondprop.models import graph
from beyondprop.tasks.base import Task, known_fields
from beyondprop.tasks.graphs.cora import CLASSES, WORDS, load_cora
from beyondprop.tasks.graphs.nodes import drawn, features
from beyondprop.tasks.graphs.planetoid import Planetoid, name_in
from beyondprop.tasks.samples import Data

NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "gcn": graph.gcn,
    "cheb": graph.cheb,
    "gat": graph.gat,
    "sage": graph.sage,
    "spline": graph.spline,
}
"""Networks by short name: (features, classes) to a network."""

PER_CLASS = 20
DECAYS = (5e-4, 1e-4)


def of_nodes(
    name: str,
    summary: str,
    load: Callable[[Path | None], Data],
    model: Callable[[], nn.Module],
    classes: int,
    per_class: int = PER_CLASS,
    **fields: Any,
) -> Task:
    """Return a task on nodes of a graph, with a few training nodes drawn by a run's seed.

    A step uses all training nodes, so it is an epoch.

    Args:
        name: Name of the task.
        summary: One line for lists.
        load: Returns `Nodes` in three splits.
        model: Builds a `NodeClassifier`, or your own network, together with ``blocks=``.
        classes: Number of classes.
        per_class: Training nodes of each class.
        fields: Fields of the task that replace its defaults: ``epochs``, ``optimizers``, ...
    """
    own: dict[str, Any] = {
        "blocks": graph.BLOCKS,
        "output": graph.OUTPUT,
        "axes": graph.AXES,
        "epochs": 200,
        "batch_size": per_class * classes,
        "learning_rate": 0.01,
        "optimizers": tuple({"optimizer": "adam", "weight_decay": each} for each in DECAYS),
        "split": partial(drawn, per_class),
        "features": features,
    }
    return Task(name, summary, load, model, **own | known_fields(fields))


def from_planetoid(
    path: Path | str,
    network: str = "gcn",
    *,
    name: str | None = None,
    per_class: int = PER_CLASS,
    **fields: Any,
) -> Task:
    """Return a task of a graph in Planetoid's files.

    Test and validation nodes are the published ones; training nodes are drawn by a run's seed from
    all others.

    Args:
        path: The folder with the files ``ind.NAME.x``, ...
        network: "gcn", "cheb", "gat", "sage" or "spline".
        name: Name of the data set; required if the folder contains several.
        per_class: Training nodes of each class.
        fields: Fields of the task that replace its defaults: ``model``, ``epochs``, ...

    Raises:
        UserError: There is no such network, or the files cannot be read.
    """
    if network not in NETWORKS:
        raise UserError(f"there is no network {network!r}; there are {', '.join(NETWORKS)}")
    folder = Path(path)
    load = Planetoid(folder, name or name_in(folder))
    data = load(None)
    (x, _, _), _ = data.train.batch(slice(1))
    classes = len(data.classes)
    return of_nodes(
        f"{re.sub(r'[^A-Za-z0-9_.-]', '-', load.name)}-{network}",
        f"nodes of {load.name}, one of {classes} classes, {network}",
        load,
        partial(NETWORKS[network], x.shape[1], classes),
        classes,
        per_class,
        **fields,
    )


def _cora(network: str, called: str) -> Task:
    return of_nodes(
        f"cora-{network}",
        f"Cora's 2,708 papers and their citations, {called}",
        load_cora,
        partial(NETWORKS[network], WORDS, CLASSES),
        CLASSES,
    )


CORA_GCN = _cora("gcn", "two graph convolutions (GCN)")
CORA_CHEB = _cora("cheb", "two Chebyshev convolutions (ChebNet)")
CORA_GAT = _cora("gat", "two convolutions by attention (GAT)")
CORA_SAGE = _cora("sage", "two means over neighbours (GraphSAGE)")
CORA_SPLINE = _cora("spline", "two spline convolutions (SplineCNN)")
