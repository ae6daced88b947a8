"""Small graphs in the files of Cora and of Planetoid."""

import gzip
import pickle
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

CLASSES = ("Neural_Nets", "Theory")


def put_cora(folder: Path, papers: int = 80, words: int = 6) -> Path:
    """Write papers in two classes, each with its word, cited in a ring and within a class."""
    (folder / "cora").mkdir(parents=True, exist_ok=True)
    lines, cites = [], []
    for i in range(papers):
        marks = [int(j == i % 2 or (i // 2) % words == j) for j in range(words)]
        name = 1000 - i  # names say nothing of the order
        lines.append("\t".join([str(name), *map(str, marks), CLASSES[i % 2]]))
        cites += [(name, 1000 - (i + 2) % papers), (name, 1000 - (i + 1) % papers)]
    cites += [(1000, 1000), (1000, 998)]  # of itself, and twice
    (folder / "cora" / "cora.content.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (folder / "cora" / "cora.cites").write_text("".join(f"{a}\t{b}\n" for a, b in cites))
    return folder


def put_planetoid(folder: Path, name: str = "tiny") -> Path:
    """Write 12 nodes: 2 for training, 3 others, and test nodes 5 to 11 of which 8 is in no file."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    held = rng.integers(0, 2, (5, 4)).astype(np.float32)
    tested = [9, 5, 11, 6, 7, 10]
    own = np.arange(24, dtype=np.float32).reshape(6, 4)
    one_hot = np.eye(2, dtype=np.int32)
    graph = defaultdict(list, {0: [1, 2, 2], 1: [0], 2: [0, 5], 5: [2, 5], 6: [7], 7: [6], 8: []})
    parts = {
        "x": csr_matrix(held[:2]),
        "allx": csr_matrix(held),
        "tx": csr_matrix(own),
        "y": one_hot[[0, 1]],
        "ally": one_hot[[0, 1, 1, 0, 1]],
        "ty": one_hot[[0, 1, 0, 1, 0, 1]],
        "graph": graph,
    }
    for part, value in parts.items():
        (folder / f"ind.{name}.{part}").write_bytes(pickle.dumps(value, protocol=4))
    (folder / f"ind.{name}.test.index").write_text("".join(f"{each}\n" for each in tested))
    return folder
