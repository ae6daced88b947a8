"""Graphs in Planetoid's file format, in which Cora, Citeseer and Pubmed are published.

Yang, Cohen and Salakhutdinov, "Revisiting semi-supervised learning with graph embeddings", 2016. A
data set with the name N consists of eight files: ``ind.N.x``, ``.allx`` and ``.tx`` contain
features of the training nodes, of all nodes except the test nodes, and of the test nodes; ``.y``,
``.ally`` and ``.ty`` their classes, one-hot; ``.graph`` the neighbours of each node;
``.test.index`` the numbers of the test nodes in the order of ``.tx``. All but the last are pickles,
which are read without executing them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.tasks import files, pickles
from beyondprop.tasks.graphs.nodes import Graph, Nodes, both_ways, shares
from beyondprop.tasks.samples import Data
from beyondprop.tasks.unpickling import unpickled

SPARE = 10
"""Maximum number of numbered nodes per node in the files."""
VALIDATION = 500


@dataclass(frozen=True)
class Planetoid:
    """A data set in Planetoid's files. Called with a data folder or None, it returns the data.

    Attributes:
        path: The folder.
        name: Name of the data set, as in the files' names.
    """

    path: Path
    name: str

    def __call__(self, folder: Path | None) -> Data:
        """Return the data, from the files in ``folder`` if it is given.

        Test nodes are the published ones, and so are validation nodes: those after the training
        nodes. Training nodes are drawn from all others with known classes.

        Raises:
            UserError: A file cannot be read, or the files do not match.
        """
        folder = self.path if folder is None else folder
        first = len(self._matrix(folder, "y"))
        held, held_classes = self._matrix(folder, "allx"), self._matrix(folder, "ally")
        own, own_classes = self._matrix(folder, "tx"), self._matrix(folder, "ty")
        tested, neighbours = self._tested(folder), self._neighbours(folder)
        known = len(held)
        fits = len(held_classes) == known and len(own_classes) == len(own) == len(tested)
        alike = held.shape[1] == own.shape[1] and held_classes.shape[1] == own_classes.shape[1]
        if not fits or not alike or tested.min() < known or len(set(tested)) < len(tested):
            raise UserError(
                f"the files of {self.name} in {folder} do not match: get all of them again"
            )
        if max(held_classes.sum(1).max(initial=0), own_classes.sum(1).max(initial=0)) > 1:
            raise UserError(f"{self.name} has nodes with several classes, which is not supported")
        if held_classes.shape[1] < 2:
            raise UserError(f"{self.name} has only one class: at least two are needed")
        # A node without neighbours may be in no file: then it has a number, but no words.
        count = max(known, int(tested.max()) + 1, int(neighbours.max(initial=-1)) + 1)
        if count > SPARE * (known + len(tested)):
            raise UserError(
                f"the files of {self.name} in {folder} number {count:,} nodes and describe "
                f"{known + len(tested):,}: get all of them again"
            )
        x, y = np.zeros((count, held.shape[1]), np.float32), np.zeros((count, own_classes.shape[1]))
        x[:known], x[tested], y[:known], y[tested] = held, own, held_classes, own_classes
        classes = torch.from_numpy(np.where(y.any(1), y.argmax(1), -1))
        graph = Graph(shares(torch.from_numpy(x)), both_ways(torch.from_numpy(neighbours)), classes)
        return self._in_parts(graph, torch.from_numpy(tested), first, known, y.shape[1])

    def _in_parts(self, graph: Graph, tested: Tensor, first: int, known: int, classes: int) -> Data:
        held = torch.zeros(len(graph.classes), dtype=torch.bool)
        held[first : min(first + VALIDATION, known)] = True
        test = torch.zeros_like(held)
        test[tested] = True
        labelled = graph.classes >= 0
        parts = (labelled & ~held & ~test, labelled & held, labelled & test)
        train, validation, last = (Nodes(graph, part.nonzero().flatten()) for part in parts)
        return Data(self.name, train, validation, last, tuple(map(str, range(classes))))

    def _matrix(self, folder: Path, part: str) -> NDArray[Any]:
        path = folder / f"ind.{self.name}.{part}"
        told = unpickled(files.read(path), str(path), pickles.SPARSE)
        return pickles.matrix(told, str(path))

    def _tested(self, folder: Path) -> NDArray[np.int64]:
        path = folder / f"ind.{self.name}.test.index"
        try:
            found = np.array([int(word) for word in files.read(path).split()], np.int64)
        except (ValueError, OverflowError):
            found = np.empty(0, np.int64)
        if not len(found):
            raise UserError(f"{path} does not contain a list of node numbers")
        return found

    def _neighbours(self, folder: Path) -> NDArray[np.int64]:
        """Return sources and targets, ``(2, edges)``."""
        path = folder / f"ind.{self.name}.graph"
        told = unpickled(files.read(path), str(path), pickles.LISTS)
        found = pickles.lists(told, str(path))
        pairs = [(node, other) for node, others in found.items() for other in others]
        edges = np.array(pairs, np.int64).reshape(-1, 2).T
        if edges.size and edges.min() < 0:
            raise UserError(f"{path} has a node with a negative number")
        return edges


def name_in(folder: Path) -> str:
    """Return the name of the only Planetoid data set in a folder.

    Raises:
        UserError: There is none, or more than one.
    """
    found = sorted(path.name.split(".")[1] for path in folder.glob("ind.*.graph"))
    if len(found) != 1:
        what = f"the sets {', '.join(found)}: name one, name=..." if found else "no such files"
        raise UserError(
            f"Planetoid's files are ind.NAME.x, tx, allx, y, ty, ally, graph and test.index, and "
            f"{folder} holds {what}"
        )
    return found[0]
