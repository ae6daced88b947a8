"""Damaged run folders: resumed to the same weights, or refused in one sentence."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from benchmarks.faults.damages import DAMAGES
from beyondprop.errors import UserError
from beyondprop.experiment import RunSpec, train
from beyondprop.files import StorageError
from tests.unit.experiment.experiment_tasks import BLOBS

pytestmark = pytest.mark.slow

SPEC = RunSpec(rule="dfa", epochs=2)
WEIGHTS = "weights.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(SPEC, folder, task=BLOBS)
    return folder


@pytest.mark.parametrize("seed", range(4))
def test_no_damaged_checkpoint_is_trained_on(whole: Path, tmp_path: Path, seed: int) -> None:
    draw, folder = random.Random(seed), tmp_path / "run"
    shutil.copytree(whole, folder)
    (folder / "record.json").unlink()
    content = (folder / "checkpoint.pt").read_bytes()
    for number in range(100):
        changed = DAMAGES[number % len(DAMAGES)](draw, content)
        if changed == content:
            continue
        (folder / "checkpoint.pt").write_bytes(changed)
        with pytest.raises(StorageError, match=r"checkpoint.pt is damaged") as said:
            train(SPEC, folder, resume=True, task=BLOBS)
        assert "\n" not in str(said.value)


@pytest.mark.parametrize("name", ["spec.json", "record.json", "metrics.jsonl", WEIGHTS])
def test_a_damaged_file_gives_the_same_weights_or_one_sentence(
    whole: Path, tmp_path: Path, name: str
) -> None:
    draw, expected = random.Random(0), (whole / WEIGHTS).read_bytes()
    for number in range(60):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(DAMAGES[number % len(DAMAGES)](draw, content))
        said = refusal(folder)
        if said is None:
            assert (folder / WEIGHTS).read_bytes() == expected
        else:
            assert "\n" not in said


def refusal(folder: Path) -> str | None:
    try:
        train(SPEC, folder, resume=True, task=BLOBS)
    except UserError as said:
        return str(said)
    return None
