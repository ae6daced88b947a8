"""What neighbourhoods get and give in other forms, and what tells models and data apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.progress import Progress
from torch import Tensor, nn

import beyondprop as bp
from beyondprop._torch.pytrees import form
from beyondprop.errors import UserError
from beyondprop.files import StorageError, write_json
from beyondprop.neighbourhoods import (
    DISTANCES,
    Cache,
    Candidate,
    Library,
    Recipe,
    Streamed,
    capture,
    distil,
    opened,
    split,
    teach,
)
from beyondprop.neighbourhoods.calls import Call
from beyondprop.pieces.contents import digest_of_model
from beyondprop.pieces.data import look, sizes
from tests.unit.neighbourhoods.pieces import Same, batches, teacher

QUIET = Progress(disable=True)
EXACT = Cache(dtype=None)


class Tokens(nn.Module):
    """Two pieces that take tokens (batch, tokens, 4), with a number for all samples in addition."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = Scaled(), Scaled()

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        scale = torch.ones(1) if scale is None else scale[0].mean().reshape(1)
        return self.second(self.first(x, scale), scale)


class Scaled(nn.Module):
    """A linear layer times a number."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        out: Tensor = self.linear(x) * scale
        return out


class By(Candidate):
    """Builds a student by a function."""

    name: ClassVar[str] = "by"

    def __init__(self, made: Callable[[], nn.Module]) -> None:
        self.made = made

    def build(self, piece: nn.Module, call: Call) -> nn.Module:
        del piece, call
        return self.made()


class Listing(nn.Module):
    """Returns its answer in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.linear(x)]


class Overwriting(nn.Module):
    """Writes into what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(x.mul_(2))
        return out


def distilled(folder: Path, candidate: Candidate, **changes: Any) -> Library:
    model = teacher()
    recipe = Recipe(epochs=1, batch_size=16)
    chosen = {"own": candidate}
    given: dict[str, Any] = {"recipe": recipe, "cache": EXACT, "progress": QUIET} | changes
    return distil(model, split(model, ["1"]), batches(), folder, chosen, **given)


@given(st.integers(1, 500), st.integers(1, 60))
def test_batches_of_a_pass_are_alike(samples: int, most: int) -> None:
    found = sizes(samples, most)
    assert sum(found) == samples
    assert len(found) == -(-samples // most)
    assert max(found) <= most
    assert max(found) - min(found) <= 1


def test_a_batch_norm_learns_where_one_sample_would_be_left(tmp_path: Path) -> None:
    def normed() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))

    model, data = teacher(), [torch.randn(33, 3)]
    recipe = Recipe(epochs=1, batch_size=16)
    wanted = split(model, ["1"])
    found = distil(
        model, wanted, data, tmp_path, {"own": By(normed)}, recipe=recipe, progress=QUIET
    )
    assert found.students["1"]["own"].record["steps"] == 3


def test_batches_of_other_lengths_are_streamed_and_not_stored(tmp_path: Path) -> None:
    model = Tokens().eval()
    wanted = split(model, ["first", "second"])
    data = [torch.randn(4, length, 4) for length in (5, 7, 6)]
    with pytest.raises(UserError, match=r"calls of 'first' differ in form.*streamed=True"):
        capture(model, wanted, data, tmp_path, EXACT)
    student = Scaled()
    recipe = Recipe(epochs=2, learning_rate=0.1)
    curve = teach(student, Streamed(model, wanted[1], data), recipe, QUIET, "piece")
    assert curve.errors[1] < curve.errors[0]


def test_what_is_alike_for_a_batch_must_be_alike_for_all(tmp_path: Path) -> None:
    model = Tokens().eval()
    wanted = split(model, ["second"])
    one, other = ((torch.randn(4, 5, 4), torch.full((4, 1), value)) for value in (1.0, 2.0))
    with pytest.raises(UserError, match="calls of 'second' differ in form from batch to batch"):
        capture(model, wanted, [one, other], tmp_path, EXACT)
    assert capture(model, wanted, [one, one], tmp_path, EXACT)["second"].steps(4) == 2


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (Listing, r"returns list\(float32 \(1, 4\)\) and the teacher's piece float32 \(1, 4\)"),
        (lambda: nn.Linear(4, 5), r"a Linear returns float32 \(1, 5\) and"),
        (lambda: nn.Linear(3, 4), r"a Linear cannot be called like the teacher's piece"),
    ],
)
def test_a_student_of_another_form_is_refused_before_it_learns(
    tmp_path: Path, made: Callable[[], nn.Module], why: str
) -> None:
    with pytest.raises(UserError, match=why):
        distilled(tmp_path, By(made))


def test_a_student_may_write_into_what_it_gets() -> None:
    x = torch.ones(2, 4)
    call = Call((x,), {}, x, 2)
    call.of(Overwriting())
    assert torch.equal(x, torch.ones(2, 4))


def test_weights_that_were_changed_are_told_where_a_model_is_put_together(tmp_path: Path) -> None:
    library = distilled(tmp_path, Same())
    kept = library.students["1"]["own"].folder / "weights.safetensors"
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.write_bytes(content)
    with pytest.raises(StorageError, match=r"is not what was written there: delete .* and run"):
        library.merge(teacher(), {"1": "own"})


@pytest.mark.parametrize("content", [{}, {"asked": 3}, {"asked": {}, "error": "low"}])
def test_a_record_of_something_else_is_told(tmp_path: Path, content: dict[str, Any]) -> None:
    library = distilled(tmp_path, Same())
    write_json(library.students["1"]["own"].folder / "record.json", content)
    model = teacher()
    with pytest.raises(StorageError, match="is not the record of a student: delete"):
        distilled(tmp_path, Same())
    with pytest.raises(StorageError, match="is not the record of a student: delete"):
        opened(model, split(model, ["1"]), batches()[0], tmp_path, {"own": Same()})


def test_calls_of_something_else_are_told(tmp_path: Path) -> None:
    distilled(tmp_path, Same())
    (path,) = tmp_path.glob("activations/*/calls.json")
    known = json.loads(path.read_bytes())
    write_json(path, {"asked": known["asked"]})
    with pytest.raises(StorageError, match=r"was not written by a capture: delete"):
        distilled(tmp_path, Same())


def one_model(activation: nn.Module | None = None, scale: float = 1.0) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), activation or nn.ReLU())
    model.scale = scale
    model.register_buffer("mask", torch.ones(3), persistent=False)
    model.act = lambda x: x
    return model


def test_models_are_told_apart_by_more_than_weights() -> None:
    known = digest_of_model(one_model())
    assert digest_of_model(one_model()) == known
    assert digest_of_model(one_model(nn.Tanh())) != known
    assert digest_of_model(one_model(nn.Softplus(2))) != digest_of_model(one_model(nn.Softplus(3)))
    assert digest_of_model(one_model(scale=0.5)) != known
    masked = one_model()
    masked.get_buffer("mask")[0] = 0
    assert digest_of_model(masked) != known


def test_data_are_told_apart_by_names_and_shapes() -> None:
    x = torch.arange(12.0).reshape(4, 3)
    known = look([{"x": x}])[0]
    assert look([{"y": x}])[0] != known
    assert look([{"x": x.reshape(4, 3, 1)}])[0] != known
    assert look([{"x": x.view(torch.int32)}])[0] != known
    assert look([{"x": x}])[0] == known


def test_forms_tell_containers_keys_and_shapes() -> None:
    x = torch.ones(2, 3)
    assert form((x, None)) == "tuple(float32 (2, 3), NoneType)"
    assert form({"b": x.long(), "a": [x]}) == "dict(a: list(float32 (2, 3)), b: int64 (2, 3))"
    assert form(3) == "int"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_distances_of_half_precision_are_those_of_single(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    teachers = (300 * torch.randn(64, 100)).to(dtype)
    student = (teachers + 30 * torch.randn(64, 100)).to(dtype).requires_grad_()
    for name in DISTANCES:
        distance = DISTANCES[name]
        found = distance(student, teachers)
        expected = distance(student.float(), teachers.float())
        torch.testing.assert_close(found, expected)
        (gradient,) = torch.autograd.grad(found, student)
        assert gradient.isfinite().all()


def test_a_rules_own_operations_are_charged() -> None:
    model, data = teacher(), batches()
    (wanted,) = split(model, ["0"])
    spent = {}
    for rule in (bp.Backprop(), bp.DirectFeedbackAlignment()):
        student = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 16), nn.Linear(16, 4))
        recipe = Recipe(epochs=1, rule=rule)
        spent[rule.name] = teach(
            student, Streamed(model, wanted, data), recipe, QUIET, "piece"
        ).operations
    samples = sum(len(each) for each in data)
    # Forward, gradients of weights, and those of inputs but the first layer's.
    assert spent["backprop"] == samples * 2 * (2 * 3 * 16 + 3 * (16 * 16 + 16 * 4))
    assert spent["dfa"] < spent["backprop"]  # its three blocks have the same signal


def test_settings_take_numbers_of_numpys_and_refuse_text() -> None:
    assert Recipe(epochs=np.int64(3)).epochs == 3
    with pytest.raises(UserError, match="learning_rate of Recipe must be a number above 0"):
        Recipe(learning_rate="fast")  # type: ignore[arg-type]
