"""Two processes in one folder, and folders that vanish while a run writes into them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from beyondprop.experiment import RunSpec, train
from beyondprop.files import StorageError, read_json
from tests.unit.experiment.experiment_tasks import BLOBS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks"),
]

WORDS = ["train", "--task", "digits-mlp", "--epochs", "1"]
COMMAND = ("-m", "beyondprop")
PATIENT = (
    "-c",
    "import sys; from beyondprop.cli import main; from beyondprop.jobs import lock; "
    "lock.PATIENCE = 600.0; sys.exit(main())",
)
"""The command with a patience that outlasts the other's run on a busy machine, too."""


def begun(folder: Path, *more: str, command: Sequence[str] = COMMAND) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command, *WORDS, "--output", str(folder), *more],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def test_of_two_runs_begun_at_once_one_has_the_folder(tmp_path: Path) -> None:
    for number in range(3):
        folder = tmp_path / str(number)
        both = [begun(folder, "--seed", str(seed)) for seed in range(2)]
        said = [each.communicate()[1] for each in both]
        assert sorted(each.returncode for each in both) == [0, 2]
        won = [each.returncode for each in both].index(0)
        assert (read_json(folder / "record.json") or {})["seed"] == won
        assert (read_json(folder / "spec.json") or {})["seed"] == won
        refused = said[1 - won].splitlines()[-1]
        assert "another process works in" in refused or "is not empty" in refused


def test_two_that_resume_at_once_end_with_one_result(tmp_path: Path) -> None:
    both = [begun(tmp_path / "run", "--resume", command=PATIENT) for _ in range(2)]
    said = [each.communicate()[1] for each in both]
    assert [each.returncode for each in both] == [0, 0], said
    again = train(RunSpec(task="digits-mlp", epochs=1), tmp_path / "run", resume=True)
    assert again["status"] == "finished"


def delete(folder: Path) -> None:
    shutil.rmtree(folder)


def move(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))


def replaced(folder: Path) -> None:
    move(folder)
    folder.mkdir()


@pytest.mark.parametrize("vanish", [delete, move, replaced])
def test_a_folder_that_vanishes_at_any_step_is_told(
    tmp_path: Path, vanish: Callable[[Path], None]
) -> None:
    for moment in range(12):  # three epochs of four steps
        folder, steps = tmp_path / str(moment) / "run", 0

        def loss(outputs: Tensor, targets: Tensor) -> Tensor:
            nonlocal steps
            if torch.is_grad_enabled() and (folder / "spec.json").exists():  # noqa: B023
                if steps == moment:  # noqa: B023
                    vanish(folder)  # noqa: B023
                steps += 1
            return F.cross_entropy(outputs, targets)

        with pytest.raises(StorageError, match="was deleted, moved or replaced while"):
            train(RunSpec(rule="dfa", epochs=3), folder, task=replace(BLOBS, loss=loss))
        assert not folder.exists() or not any(folder.iterdir())
