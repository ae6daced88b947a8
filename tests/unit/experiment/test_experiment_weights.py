"""The weights file: tensors and extra state, read back as they were; all else refused early."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from experiment_tasks import BLOBS
from torch import Tensor, nn

from beyondprop._torch.weights import weights
from beyondprop.errors import UserError
from beyondprop.experiment import CompareSpec, RunSpec, compare, fit, read_weights, train


class Counter(nn.Module):
    """Keeps extra state that is no tensor: how often it was called in training, and a note."""

    def __init__(self, note: Any = None) -> None:
        super().__init__()
        self.calls, self.note = 0, note

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        return x

    def get_extra_state(self) -> Any:
        return {"calls": self.calls, "note": self.note}

    def set_extra_state(self, state: Any) -> None:
        self.calls, self.note = state["calls"], state["note"]


def network(note: Any = None) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), Counter(note), nn.Tanh(), nn.Linear(8, 3))


def task(note: Any) -> Any:
    return replace(BLOBS, name="counted", model=partial(network, note))


JSON = [None, "ä\n", {"b": [1, 2.5, True], "a": float("nan")}, [], 2**70]


@pytest.mark.parametrize("note", JSON)
def test_extra_state_is_read_back(tmp_path: Path, note: Any) -> None:
    made = network(note)
    made(torch.zeros(2, 4))
    (tmp_path / "weights").write_bytes(weights(made))
    found = network()
    found.load_state_dict(read_weights(tmp_path / "weights"))
    assert found[1].calls == 1
    assert repr(found[1].note) == repr(note)
    assert torch.equal(found[0].weight, made[0].weight)
    assert weights(found) == weights(made)


def test_a_run_keeps_extra_state_and_goes_on_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, whole = RunSpec(epochs=3), tmp_path / "whole"
    train(spec, whole, task=task("kept"))
    calls = read_weights(whole / "weights.safetensors")["1._extra_state"]["calls"]
    assert calls >= 3

    class KilledError(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(fit.metrics, "append", killed)
        with pytest.raises(KilledError):
            train(spec, tmp_path / "broken", task=task("kept"))
    train(spec, tmp_path / "broken", resume=True, task=task("kept"))
    same = [(each / "weights.safetensors").read_bytes() for each in (whole, tmp_path / "broken")]
    assert same[0] == same[1]


@pytest.mark.parametrize(
    "note",
    [(1, 2), {1: "a"}, b"bytes", np.float64(1), torch.zeros(1), object(), {1}, OrderedDict(a=1)],
    ids=lambda note: type(note).__name__,
)
def test_other_extra_state_is_refused_before_training(tmp_path: Path, note: Any) -> None:
    with pytest.raises(UserError, match=r"'1\._extra_state' in the model's state_dict is a dict"):
        train(RunSpec(), tmp_path / "run", task=task(note))
    with pytest.raises(UserError, match=r"'1\._extra_state' in the model's state_dict is a dict"):
        compare(CompareSpec(), tmp_path / "comparison", task=task(note))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("buffer", [torch.eye(3).to_sparse(), torch.zeros(2).to(torch.complex128)])
def test_tensors_that_cannot_be_kept_are_refused_before_training(
    tmp_path: Path, buffer: Tensor
) -> None:
    def made() -> nn.Module:
        model = network()
        model[0].register_buffer("mask", buffer)
        return model

    words = r"'0\.mask' in the model's state_dict is a tensor that a weights file cannot store"
    with pytest.raises(UserError, match=words):
        train(RunSpec(), tmp_path / "run", task=replace(BLOBS, model=made))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"not safetensors", None])
def test_another_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=str(path)):
        read_weights(path)
