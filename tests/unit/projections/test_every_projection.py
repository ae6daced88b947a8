"""What holds for every projection: it is linear, its matrix is what it applies, norms are kept."""

import copy
import json
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from tests.reference import projections as reference
from torch import nn

import beyondprop as bp
from beyondprop.projections import (
    PROJECTIONS,
    BySize,
    Dense,
    Hadamard,
    LowRank,
    Redrawn,
    Signs,
    Sketched,
    Sparse,
    Streamed,
)

KINDS = [
    Dense(3),
    BySize(3),
    Redrawn(3),
    Signs(3),
    Streamed(3),
    Hadamard(3),
    Hadamard(3, rounds=3),
    Sketched(3, inner=Signs(5), buckets=30),
    Sketched(3, inner=Hadamard(5), buckets=30),
    Sparse(3),
    Sparse(3, density=0.05),
    LowRank(3, rank=4),
]
NEW = [kind for kind in KINDS if type(kind) not in (Dense, BySize, Redrawn)]
TYPES = [torch.float32, torch.float64]
kinds = pytest.mark.parametrize("kind", KINDS, ids=repr)
new = pytest.mark.parametrize("kind", NEW, ids=repr)


def test_all_are_registered():
    of_optics = {"photonic", "calibrated"}
    assert {kind.name for kind in KINDS} == set(PROJECTIONS) - of_optics
    assert all(PROJECTIONS.entry(kind.name) is type(kind) for kind in KINDS)


@kinds
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    "widths", [(1, 1), (2, 1), (1, 7), (10, 40), (70, 64), (130, 200), (65, 33)]
)
def test_the_matrix_is_what_is_applied(kind, dtype, widths):
    inputs, outputs = widths
    matrix = kind.matrix(inputs, outputs, 2, torch.zeros(1, dtype=dtype))
    assert matrix.shape == widths
    assert matrix.dtype is dtype
    assert matrix.is_contiguous()
    one_hot = torch.eye(inputs, dtype=dtype)
    torch.testing.assert_close(kind.project(one_hot, outputs, 2), matrix)
    x = torch.randn(2, 3, inputs, dtype=dtype)
    found = kind.project(x, outputs, 2)
    assert found.dtype is dtype
    assert found.is_contiguous()
    torch.testing.assert_close(found, x @ matrix)
    torch.testing.assert_close(kind.project(x[0, 0], outputs, 2), x[0, 0] @ matrix)
    assert kind.project(x[:0], outputs, 2).shape == (0, 3, outputs)


@new
@pytest.mark.parametrize("widths", [(5, 40), (150, 70), (65, 9)])
def test_the_reference(kind, widths):
    inputs, outputs = widths
    if isinstance(kind, Hadamard):
        expected = reference.hadamard(3, 2, inputs, outputs, kind.rounds)
    elif isinstance(kind, Sparse):
        expected = reference.sparse(3, 2, inputs, outputs, kind.density)
    elif isinstance(kind, LowRank):
        expected = reference.low_rank(3, 2, inputs, outputs, kind.rank)
    elif isinstance(kind, Sketched):
        width, like = min(inputs, 30), torch.zeros(1, dtype=torch.float64)
        stream = reference.key(reference.key(3, 2), 2) // 2 if inputs <= 30 else 2
        inner = kind.inner.matrix(width, outputs, stream, like).numpy()
        sketch = reference.count_sketch(3, 2, inputs, 30)
        expected = inner if inputs <= 30 else sketch @ inner
    else:
        expected = reference.signs(3, 2, inputs, outputs)
    found = kind.matrix(inputs, outputs, 2, torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(found, torch.from_numpy(expected))


@new
def test_its_gradient_is_the_transpose(kind):
    x = torch.randn(2, 3, 70, dtype=torch.float64, requires_grad=True)
    error = torch.randn(2, 3, 50, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(kind.project(x, 50, 1), x, error)
    torch.testing.assert_close(gradient, error @ kind.matrix(70, 50, 1, x).t())
    assert torch.autograd.gradcheck(lambda x: kind.project(x, 50, 1), x)


@new
def test_what_was_drawn_in_inference_mode_serves_gradients_too(kind):
    fresh, x = copy.deepcopy(kind), torch.randn(2, 70)
    with torch.inference_mode():
        expected = fresh.project(x, 50, 1)
    found = fresh.project(x.requires_grad_(), 50, 1)
    found.sum().backward()
    assert torch.equal(found, expected)


@new
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(kind, dtype):
    x = torch.randn(4, 70).to(dtype)
    found = kind.project(x, 50, 1)
    assert found.dtype is dtype
    exact = x.double() @ kind.matrix(70, 50, 1, x.double())
    torch.testing.assert_close(found.double(), exact, rtol=0.1, atol=0.2)
    assert kind.matrix(70, 50, 1, x).dtype is dtype


@kinds
def test_streams_and_seeds_are_independent(kind):
    like = torch.zeros(1, dtype=torch.float64)
    maps = [kind, type(kind)(seed=4)] if not isinstance(kind, Sketched) else [kind]
    drawn = [k.matrix(60, 50, stream, like).flatten() for k in maps for stream in (0, 1, 2**40)]
    for i, a in enumerate(drawn):
        for b in drawn[:i]:
            assert torch.corrcoef(torch.stack([a, b]))[0, 1].abs() < 0.12


def test_maps_of_one_seed_are_independent_of_each_other():
    like = torch.zeros(1, dtype=torch.float64)
    maps = [Dense(0), Signs(0), Hadamard(0), Sparse(0, density=1), LowRank(0, rank=64)]
    maps += [Sketched(0, inner=Signs(0), buckets=64)]
    drawn = [kind.matrix(100, 64, 0, like).flatten() for kind in maps]
    correlations = torch.corrcoef(torch.stack(drawn)) - torch.eye(len(drawn))
    assert correlations.abs().max() < 0.06  # 6400 numbers: standard deviation 0.0125


# Of |Px|² / |x|² for Gaussian x, 4096 → 256: that of independent entries is sqrt(2 / 256) = 0.088,
# of a part of a rotation's outputs sqrt(2 / 256 - 2 / 4096) = 0.086 over maps.
SPREAD = {
    Dense(0): (0.082, 0.095),
    Signs(0): (0.082, 0.095),
    Streamed(0): (0.082, 0.095),
    Hadamard(0): (0.080, 0.092),
    Hadamard(0, rounds=3): (0.080, 0.092),
    Sparse(0, density=0.05): (0.082, 0.096),
    Sketched(0, inner=Signs(), buckets=1024): (0.090, 0.108),  # sqrt(2 / 256 + 2 / 1024) = 0.099
    LowRank(0, rank=64): (0.18, 0.22),  # sqrt(2 / 64 + 2 / 256 + ...) = 0.199
}


@pytest.mark.parametrize("kind", SPREAD, ids=repr)
def test_norms_and_inner_products(kind):
    """Inner products of orthogonal vectors of norm 1 spread by sqrt(1 / 256), as by Gaussians."""
    x, y = torch.randn(2, 3000, 4096)
    low, high = SPREAD[kind]
    px, py = kind.project(x, 256, 0), kind.project(y, 256, 0)
    ratio = px.square().sum(1) / x.square().sum(1)
    inner = ((px * py).sum(1) - (x * y).sum(1)) / (x.norm(dim=1) * y.norm(dim=1))
    assert abs(ratio.mean() - 1) < (0.02 if isinstance(kind, LowRank) else 0.012)
    assert low < ratio.std() < high
    assert low < inner.std() * math.sqrt(2) < high
    assert abs(inner.mean()) < 5 * high / 3000**0.5


@new
@pytest.mark.parametrize("widths", [(300, 64), (20, 256)])
def test_one_hot_inputs_keep_their_norm_over_streams(kind, widths):
    inputs, outputs = widths
    x = torch.eye(inputs)[[0, 1, inputs // 2, inputs - 1]]
    found = torch.stack([kind.project(x, outputs, stream) for stream in range(200)])
    ratio = found.square().sum(2)
    assert abs(ratio.mean() - 1) < 0.1
    assert abs(found.mean()) < 5 * (1 / outputs / found[..., 0].numel()) ** 0.5
    matrix = torch.stack([kind.matrix(inputs, outputs, s, x).flatten() for s in range(3)])
    assert abs(matrix.square().mean() * outputs - 1) < 0.15


@new
def test_neighbouring_outputs_and_inputs_are_uncorrelated(kind):
    matrices = torch.stack([kind.matrix(60, 64, stream, torch.zeros(1)) for stream in range(60)])
    for a, b in (
        (matrices[:, :, 1:], matrices[:, :, :-1]),
        (matrices[:, 1:], matrices[:, :-1]),
        (matrices[:, :, 8:], matrices[:, :, :-8]),
        (matrices[1:], matrices[:-1]),
    ):
        pair = torch.stack([a.flatten(), b.flatten()])
        assert torch.corrcoef(pair)[0, 1].abs() < 0.02  # 200 000 numbers


@new
def test_copies_and_settings(kind):
    like = torch.zeros(1)
    kind.matrix(512, 512, 0, like)
    kind.project(torch.zeros(1, 512), 512, 0)
    assert len(pickle.dumps(kind)) < 400
    for twin in (copy.deepcopy(kind), pickle.loads(pickle.dumps(kind))):
        assert twin == kind
        assert torch.equal(twin.matrix(8, 8, 0, like), kind.matrix(8, 8, 0, like))
    assert json.loads(json.dumps(kind.settings())) == kind.settings()
    assert kind.settings()["name"] == kind.name
    values = {k: v for k, v in kind.settings().items() if k != "name"}
    if "inner" in values:
        values["inner"] = PROJECTIONS.make(values["inner"])
    assert type(kind)(**values) == kind


@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device here")
@new
def test_on_a_gpu_it_is_the_same_map(kind):
    x = torch.randn(3, 700, dtype=torch.float64)
    found = kind.project(x.cuda(), 900, 1)
    torch.testing.assert_close(found.cpu(), kind.project(x, 900, 1))


@new
@pytest.mark.parametrize("widths", [(0, 3), (3, 0), (3, 2**40 + 1), (2**40 + 1, 3)])
def test_widths_that_no_map_has(kind, widths):
    with pytest.raises(bp.UserError, match="whole numbers from 1 to 2\\^40"):
        kind.matrix(*widths, 0, torch.zeros(1))
    x = torch.zeros(1).expand(widths[0])
    with pytest.raises(bp.UserError, match="whole numbers from 1 to 2\\^40"):
        kind.project(x, widths[1], 0)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", [Signs, Streamed, Hadamard, Sparse, LowRank, Sketched])
def test_blocks_share_a_map_if_asked(kind, shared):
    made = Sketched(inner=Signs(shared=shared)) if kind is Sketched else kind(shared=shared)
    assert (made.stream(7), made.stream(8)) == ((0, 0) if shared else (7, 8))


@pytest.mark.parametrize("kind", [Signs, Streamed, Sparse, LowRank])
def test_a_shared_map_is_sliced_to_each_width(kind):
    made, x = kind(seed=5, shared=True), torch.randn(3, 70)
    wide = made.project(x, 200, 0) * 200**0.5
    for width in (1, 63, 64, 130):
        torch.testing.assert_close(made.project(x, width, 0) * width**0.5, wide[:, :width])


@new
@pytest.mark.parametrize("rule", [bp.DirectFeedbackAlignment, bp.FeedbackAlignment])
def test_rules_train_by_it(kind, rule):
    """They end well below the head alone, on hidden blocks as they begin."""
    frozen, taught = trained(bp.Frozen()), trained(rule(kind))
    assert taught < 0.8 * frozen


def trained(rule):
    """Return the loss after training a small network by a rule."""
    torch.manual_seed(1)
    x = torch.randn(256, 12)
    y = (x @ torch.randn(12, 4)).argmax(1)
    model = nn.Sequential(
        nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 8), nn.Tanh(), nn.Linear(8, 4)
    )
    handle = bp.attach(model, rule)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(100):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert handle.blocks[0].rule.settings() == rule.settings()
    copy.deepcopy(model)
    return loss.item()


@pytest.mark.parametrize("kind", list(dict.fromkeys(map(type, KINDS))))
@pytest.mark.parametrize("seed", [-1, 1.5, 2**64, "1", None])
def test_seeds_that_are_refused(kind, seed):
    with pytest.raises(bp.UserError, match="seed is a whole number from 0 to 2\\^64 - 1, not"):
        kind(seed)


@pytest.mark.parametrize("kind", list(dict.fromkeys(map(type, KINDS))))
def test_seeds_of_numpy_are_plain_ints(kind):
    made = kind(np.uint64(2**64 - 1))
    assert type(made.seed) is int
    assert made == kind(2**64 - 1)
    assert json.loads(json.dumps(made.settings()))["seed"] == 2**64 - 1


@kinds
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_numbers_that_are_refused(kind, dtype):
    x = torch.ones(2, 70, dtype=dtype)
    for carry in (lambda: kind.project(x, 50, 0), lambda: kind.matrix(70, 50, 0, x)):
        with pytest.raises(
            bp.UserError, match=r"floating-point numbers, not torch\.\w+: use x\.fl"
        ):
            carry()


@kinds
@pytest.mark.parametrize("width", [0, -3, 5.0, 2.5, True, "5", None])
def test_widths_that_are_refused(kind, width):
    with pytest.raises(bp.UserError, match=f"whole numbers from 1 to 2\\^40, not {width}"):
        kind.project(torch.ones(2, 70), width, 0)


@kinds
def test_widths_of_numpy(kind):
    x = torch.randn(2, 70)
    assert torch.equal(kind.project(x, np.int64(50), 0), kind.project(x, 50, 0))


EXACT = [k for k in KINDS if isinstance(k, Hadamard | LowRank | Sparse)]


@pytest.mark.parametrize("kind", EXACT, ids=repr)
def test_autocast_does_not_round(kind):
    x = torch.randn(4, 70)
    expected = kind.project(x, 50, 1), kind.matrix(70, 50, 1, x)
    with torch.autocast("cpu"):
        found = kind.project(x, 50, 1), kind.matrix(70, 50, 1, x)
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("cast", [False, True])
@pytest.mark.parametrize("kind", EXACT, ids=repr)
def test_it_is_compiled_in_one_piece(kind, cast):
    x = torch.randn(4, 70)
    expected = kind.project(x, 50, 1)
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: kind.project(x, 50, 1) * 2, backend="eager")
    with torch.autocast("cpu", enabled=cast):
        torch.testing.assert_close(compiled(x), expected * 2)


@dataclass(frozen=True)
class Counting(bp.projections.Projection):
    """Changes with its use."""

    name: ClassVar[str] = "counting"
    draws: list[int] = field(default_factory=lambda: [0], init=False, compare=False)

    def matrix(self, in_features, out_features, stream, like):
        raise NotImplementedError

    @property
    def counter(self):
        return self.draws[0]

    def resume(self, counter):
        self.draws[0] = counter


def test_what_holds_a_projection_hands_its_counter_on():
    inner = Counting()
    outer = Sketched(inner=Sketched(inner=inner))
    assert outer.counter == 0
    inner.draws[0] = 7
    assert outer.counter == 7
    outer.resume(3)
    assert inner.counter == 3
    assert Sketched().counter == 0


@dataclass(frozen=True)
class Holder(bp.projections.Projection):
    """Has settings of all sorts."""

    name: ClassVar[str] = "holder"
    inner: bp.projections.Projection = field(default_factory=Sketched)
    scale: Any = field(default_factory=partial(np.float32, 0.5))
    dtype: torch.dtype = torch.float16
    shape: Any = (1, np.int64(2))
    by: Callable[..., Any] = trained
    made: int = field(default=5, init=False)

    def matrix(self, in_features, out_features, stream, like):
        raise NotImplementedError


def test_settings_of_all_sorts_become_json():
    assert json.loads(json.dumps(Holder(seed=np.int32(4)).settings())) == {
        "name": "holder",
        "seed": 4,
        "inner": Sketched().settings(),
        "scale": 0.5,
        "dtype": "torch.float16",
        "shape": [1, 2],
        "by": "<function trained>",
    }
