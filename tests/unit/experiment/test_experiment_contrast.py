"""Runs of tasks that make right and wrong answers of every training batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from beyondprop.experiment import RunSpec, train
from beyondprop.tasks import Contrast, Data, Split, Task
from beyondprop.tasks.goodness import DIGITS_GOODNESS, right_and_wrong

CLASSES = 10


def some_digits(folder: Path | None) -> Data:
    """A few of the digits: 3 steps of 32 an epoch, the last one smaller."""
    data = DIGITS_GOODNESS.load(folder)

    def part(split: Split, size: int) -> Split:
        return Split(split.inputs[:size], split.targets[:size])

    return replace(
        data,
        train=part(data.train, 80),
        validation=part(data.validation, 40),
        test=part(data.test, 40),
    )


TASK = replace(DIGITS_GOODNESS, name="some-goodness", load=some_digits, epochs=2, batch_size=32)


def ran(folder: Path, schedule: str = "joint", task: Task = TASK) -> dict[str, Any]:
    return train(RunSpec(rule="ff", seed=1, schedule=schedule), folder, task=task)


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "weights.safetensors")


def test_every_training_batch_is_contrasted_and_no_other(tmp_path: Path) -> None:
    sizes = []

    def contrast(inputs: Tensor, targets: Tensor) -> Contrast:
        sizes.append(len(inputs))
        return right_and_wrong(CLASSES, inputs, targets)

    record = ran(tmp_path, task=replace(TASK, contrast=contrast))
    assert record["status"] == "finished"
    assert sizes == [32, 16] + [32, 32, 16] * 2  # tried once with each size, then trained
    assert len(record["curve"]) == 3


def test_wrong_answers_follow_from_the_seed(tmp_path: Path) -> None:
    ran(tmp_path / "one")
    torch.manual_seed(99)
    ran(tmp_path / "two")
    torch.testing.assert_close(weights(tmp_path / "two"), weights(tmp_path / "one"), rtol=0, atol=0)


def test_blocks_that_learn_at_once_learn_the_same(tmp_path: Path) -> None:
    """The optimizer is Adam, which counts its steps for each parameter."""
    records = [ran(tmp_path / each, each) for each in ("joint", "immediate")]
    found, expected = (weights(tmp_path / each) for each in ("immediate", "joint"))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    curves = [[p["validation_score"] for p in record["curve"]] for record in records]
    assert curves[0] == curves[1]
