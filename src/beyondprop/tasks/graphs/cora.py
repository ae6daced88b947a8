"""Cora: papers on machine learning, their words, and the citations between them.

McCallum et al. 2000; as a graph of nodes with classes: Sen et al., "Collective classification in
network data", 2008.
"""

from pathlib import Path

import numpy as np
import torch

from beyondprop.errors import UserError
from beyondprop.tasks.data import FileSource, find
from beyondprop.tasks.files import read
from beyondprop.tasks.graphs.nodes import Graph, both_ways, in_parts, shares
from beyondprop.tasks.samples import Data

CONTENT, CITES = "cora.content", "cora.cites"
CORA = FileSource(
    name="Cora",
    folders=("cora",),
    files={CONTENT: None, CITES: None},
    page="https://linqs.org/datasets/#cora",
)
WORDS, CLASSES = 1433, 7
VALIDATION, TEST = 500, 1000


def load_cora(folder: Path | None = None) -> Data:
    """Return Cora's 2,708 papers: 500 for validation and 1,000 for the test, always the same ones.

    Training nodes are drawn from the other 1,208.

    Args:
        folder: Location of the files; None for the default locations, see `data.find`.

    Raises:
        UserError: The files are missing or damaged.
    """
    paths = find(CORA, folder)
    graph, classes = read_papers(paths[CONTENT], paths[CITES])
    return in_parts("Cora", graph, classes, VALIDATION, TEST)


def read_papers(content: Path, cites: Path) -> tuple[Graph, tuple[str, ...]]:
    """Return the graph of papers, and the names of their classes.

    Args:
        content: One line per paper, with tabs between its name, a 0 or 1 for each word, and its
            class. Words become shares of a paper's words.
        cites: One line per citation: two names of papers. The direction is ignored.

    Raises:
        UserError: A file is damaged.
    """
    rows = [line.split(b"\t") for line in read(content).splitlines()]
    if not rows or {len(row) for row in rows} != {len(rows[0])} or len(rows[0]) < 3:
        raise UserError(f"{content} is not a table of papers; replace it")
    marks = np.frombuffer(b"".join(b"".join(row[1:-1]) for row in rows), np.uint8) - ord("0")
    if marks.size != len(rows) * (len(rows[0]) - 2) or marks.max() > 1:
        raise UserError(f"{content} holds words that are neither 0 nor 1; replace it")
    words = torch.from_numpy(marks.reshape(len(rows), -1)).float()
    names = sorted({row[-1] for row in rows})
    classes = torch.tensor([names.index(row[-1]) for row in rows])
    numbers = {row[0]: i for i, row in enumerate(rows)}
    try:
        pairs = [[numbers[name] for name in line.split()] for line in read(cites).splitlines()]
        edges = both_ways(torch.tensor(pairs).view(-1, 2).t())
    except (KeyError, RuntimeError, ValueError):
        raise UserError(f"{cites} is not a list of pairs of papers in {content.name}") from None
    shown = tuple(name.decode("ascii", "replace").replace("_", " ") for name in names)
    return Graph(shares(words), edges, classes), shown
