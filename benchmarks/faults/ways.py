"""The work that is attacked while it runs, and its expected results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.common.ports import free_port
from benchmarks.faults.children import Child, Prepare, begin, nothing
from benchmarks.faults.tasks import WAIT
from beyondprop.files import read_json

FEW = ("--task", "benchmarks.faults.tasks:CLOUDS", "--measures=[]")


@dataclass(frozen=True)
class Way:
    """A command that writes a folder.

    Attributes:
        name: Its name.
        words: The words of the command, without its folder.
        processes: The number of its processes.
        wait: Seconds that a training step waits, so that there is time for an attack.
    """

    name: str
    words: tuple[str, ...]
    processes: int = 1
    wait: float = 0.03

    def begin(
        self,
        folder: Path,
        ready: Prepare = nothing,
        words: tuple[str, ...] = ("--resume",),
        printed: Path | None = None,
    ) -> list[Child]:
        """Start or continue the work; return its processes.

        Args:
            folder: The folder of the results.
            ready: A function that is called in each process before the work starts.
            words: Further words of the command.
            printed: The start of the paths for its output; by default the folder's path.
        """
        said = printed or folder
        group: dict[str, str] = {}
        if self.processes > 1:
            group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
            group |= {"WORLD_SIZE": str(self.processes)}
        return [
            begin(
                (*self.words, "--output", str(folder), *words),
                said.with_name(f"{said.name}.{rank}"),
                {WAIT: str(self.wait), **group, **({"RANK": str(rank)} if group else {})},
                ready,
            )
            for rank in range(self.processes)
        ]

    def made(self, folder: Path) -> Mapping[str, Any]:
        """Do the work undisturbed, and return its results; see `left`.

        Raises:
            RuntimeError: It fails.
        """
        children = self.begin(folder)
        codes = [child.end() for child in children]
        if any(codes):
            raise RuntimeError(f"{self.name} fails without an attack: {children[0].said()}")
        return left(folder)


TRAIN = Way("train", ("train", *FEW, "--rule", "dfa"))
COMPARE = Way(
    "compare",
    (
        *("compare", *FEW, "--rules", "backprop", "dfa", "--seeds", "0", "1"),
        *("--learning-rates", "0.01", "--measure-cost", "false"),
    ),
)
PIPELINE = Way("pipeline", ("train", *FEW, "--rule", "dgl", "--schedule", "pipeline"), 2)
WAYS = (TRAIN, COMPARE, PIPELINE)


def left(folder: Path) -> dict[str, Any]:
    """Return the results of work: digests of weights, and the test results in records."""
    weights = {
        str(file.relative_to(folder)): sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.glob("**/*.safetensors"))
    }
    tests = {
        str(file.relative_to(folder)): (read_json(file) or {}).get("test")
        for file in sorted(folder.glob("**/record.json"))
    }
    compared = read_json(folder / "comparison.json") or {"rows": []}
    scores = [[row["rule"], row["score_mean"], row["recovery"]] for row in compared["rows"]]
    return {**weights, **tests, "scores": scores}


def finished(folder: Path) -> dict[Path, bytes]:
    """Return the records of finished work in a folder: no kill and no resume may change them."""
    return {file: file.read_bytes() for file in folder.glob("**/record.json")}
