"""Ready-made candidates: they fit where the piece was, and begin as near to it as theory says."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.models.resnet import ResidualBlock
from beyondprop.models.transformer import Attention, Layer, NormFirstLayer
from beyondprop.models.vgg import vgg8b
from beyondprop.neighbourhoods import Call, calls, split
from beyondprop.neighbourhoods import candidates as of
from beyondprop.neighbourhoods.candidates import CANDIDATES, Candidate, make
from beyondprop.neighbourhoods.candidates.graphs import traced
from beyondprop.neighbourhoods.candidates.heads import KINDS, kind_of
from beyondprop.neighbourhoods.candidates.low_rank import pair
from beyondprop.neighbourhoods.candidates.narrower import importance, narrow
from beyondprop.neighbourhoods.candidates.runs import runs
from beyondprop.registry import label
from beyondprop.registry import settings as settings_of
from beyondprop.slots.machine import machine_of


class Gated(nn.Module):
    """A feed-forward part whose hidden features are a product, as in Llama."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(6, 10, bias=False), nn.Linear(6, 10)
        self.down = nn.Linear(10, 6)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(F.silu(self.gate(x)) * self.up(x))
        return out


class Squeezing(nn.Module):
    """An inverted residual block with squeeze and excitation, in functions, as in MobileNet v3."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.norm1 = nn.Conv2d(4, 12, 1, bias=False), nn.BatchNorm2d(12)
        self.taps = nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False)
        self.norm2 = nn.BatchNorm2d(12)
        self.squeeze, self.excite = nn.Conv2d(12, 4, 1), nn.Conv2d(4, 12, 1)
        self.outward = nn.Conv2d(12, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.norm1(self.inward(x)))
        y = self.norm2(self.taps(y)).relu()
        found = F.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1)))
        y = y * torch.sigmoid(self.excite(found))
        out: Tensor = x + self.outward(F.dropout(y, 0.1, self.training))
        return out


class Bottleneck(nn.Module):
    """Three convolutions with one activation, which works in place, as in ResNet-50."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4, 6, 1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv3, self.bn3 = nn.Conv2d(8, 4, 1, bias=False), nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(y)))))
        y += x
        out: Tensor = self.relu(y)
        return out


class Deciding(nn.Module):
    """Cannot be traced as a whole, as it decides by what it gets; its parts can."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = Gated(), nn.Linear(6, 6)

    def forward(self, x: Tensor, mask: Tensor | None = None, scale: float = 1.0) -> Any:
        if x.shape[-1] != 6 or float(x.sum()) == 12.5:
            return None
        y = self.last(self.inner(x)) * (1 if mask is None else mask) * scale
        return {"hidden": y, "told": "constant"}


def varied(module: nn.Module, kind: torch.dtype = torch.float64) -> nn.Module:
    """Return a module in eval mode whose norms have seen something."""
    torch.manual_seed(3)
    for inner in module.modules():
        if isinstance(inner, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(inner.running_mean)
            nn.init.uniform_(inner.running_var, 0.5, 2)
            nn.init.uniform_(inner.weight, 0.5, 2)
            nn.init.normal_(inner.bias)
    return module.to(kind).eval()


def call_of(piece: nn.Module, *arguments: Any, **keywords: Any) -> Call:
    with torch.no_grad():
        return Call(arguments, keywords, piece(*arguments, **keywords), 1)


def maps(channels: int = 4, side: int = 8) -> Tensor:
    return torch.randn(1, channels, side, side)


def tokens(width: int = 12) -> Tensor:
    return torch.randn(1, 5, width)


def vgg_run(first: int, last: int) -> nn.Sequential:
    model: Any = vgg8b(narrower=16)
    made: nn.Sequential = model[first:last]
    return made


def encoder(**more: Any) -> nn.Module:
    return nn.TransformerEncoderLayer(12, 4, 20, batch_first=True, **more)


PIECES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "residual": (lambda: ResidualBlock(4, 4), maps),
    "downward": (lambda: ResidualBlock(4, 8, 2), maps),
    "bottleneck": (Bottleneck, maps),
    "vgg": (lambda: vgg_run(3, 11), lambda: maps(8, 32)),
    "flattening": (lambda: vgg_run(18, 24), lambda: maps(32, 4)),
    "squeezing": (Squeezing, maps),
    "gated": (Gated, lambda: tokens(6)),
    "layer": (lambda: Layer(12, 4, causal=True), tokens),
    "norm-first": (lambda: NormFirstLayer(12, 4, causal=False), tokens),
    "encoder": (encoder, tokens),
    "encoder-gelu": (lambda: encoder(norm_first=True, activation="gelu", bias=False), tokens),
    "linear": (lambda: nn.Linear(12, 12), tokens),
}

FITTING = {
    "copy": set(PIECES),
    "narrower": set(PIECES) - {"linear"},
    "low-rank": set(PIECES),
    "grouped": {"residual", "downward", "bottleneck", "vgg", "flattening", "squeezing"},
    "depthwise": {"residual", "downward", "bottleneck", "vgg", "flattening"},
    "fewer-heads": {"layer", "norm-first", "encoder", "encoder-gelu"},
    "grouped-query": {"layer", "norm-first"},
    "slot-machine": set(PIECES),
    "linear": set(PIECES),
    "identity": set(PIECES) - {"downward", "vgg", "flattening"},
}


def piece_of(name: str, kind: torch.dtype = torch.float64) -> tuple[nn.Module, Call]:
    make_piece, make_input = PIECES[name]
    piece = varied(make_piece(), kind)
    return piece, call_of(piece, make_input().to(kind))


def size(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def memory(module: nn.Module) -> set[int]:
    return {each.untyped_storage().data_ptr() for each in (*module.parameters(), *module.buffers())}


def close(found: Any, wanted: Any) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


def test_there_is_a_case_of_each_candidate() -> None:
    assert set(FITTING) == set(CANDIDATES)


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("candidate", "name"), [(each, name) for each in FITTING for name in sorted(FITTING[each])]
)
def test_a_student_fits_where_the_piece_was(candidate: str, name: str, kind: torch.dtype) -> None:
    piece, call = piece_of(name, kind)
    before, drawn = copy.deepcopy(piece.state_dict()), torch.get_rng_state()
    student = make(candidate).build(piece, call)
    assert torch.equal(torch.get_rng_state(), drawn)
    found = call.of(student)
    assert (found.shape, found.dtype) == (call.output.shape, kind)
    assert not any(module.training for module in student.modules())
    assert all(each.dtype == kind for each in student.parameters())
    assert size(student) < size(piece) or candidate == "copy" or "linear" in (candidate, name)
    assert not memory(student) & memory(piece)
    assert not any(hasattr(each, "grad") and each.grad is not None for each in student.parameters())
    assert list(piece.state_dict()) == list(before)
    assert all(torch.equal(before[key], value) for key, value in piece.state_dict().items())
    with torch.no_grad():
        assert torch.equal(call.of(piece), call.output)
    again = pickle.loads(pickle.dumps(student))
    with torch.no_grad():
        assert torch.equal(call.of(again), call.of(student))


@pytest.mark.parametrize("candidate", sorted(set(FITTING) - {"identity"}))
def test_a_student_learns(candidate: str) -> None:
    for name in sorted(FITTING[candidate]):
        piece, call = piece_of(name)
        piece.requires_grad_(False)
        student = make(candidate).build(piece, call)
        call.of(student).square().mean().backward()
        assert any(each.grad is not None for each in student.parameters())
        assert all(each.requires_grad for each in student.parameters())
        assert not any(each.requires_grad for each in piece.parameters())


@pytest.mark.parametrize(
    ("candidate", "name"),
    [(each, name) for each in FITTING for name in sorted(set(PIECES) - FITTING[each])],
)
def test_what_a_candidate_cannot_be_built_of_is_refused(candidate: str, name: str) -> None:
    piece, call = piece_of(name)
    with pytest.raises(UserError, match=rf"^'{candidate}'.* (finds|needs) ") as refused:
        make(candidate).build(piece, call)
    assert str(refused.value).count(". ") == 0


def test_what_learned_and_what_did_not_stays_so_in_a_part_frozen_piece() -> None:
    piece, call = piece_of("residual")
    piece.get_parameter("conv1.weight").requires_grad_(False)
    student = of.Narrower().build(piece, call)
    assert not student.get_parameter("conv1.weight").requires_grad
    assert student.get_parameter("conv2.weight").requires_grad


def test_the_order_in_memory_is_kept() -> None:
    piece, call = piece_of("residual")
    piece.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for name in ("copy", "narrower", "grouped", "low-rank"):
        student = make(name).build(piece, call)
        weights = [each for each in student.parameters() if each.dim() == 4 and each.shape[2] > 1]
        assert weights
        assert all(each.is_contiguous(memory_format=torch.channels_last) for each in weights)


class InPlace(nn.Module):
    """Changes its input."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(12, 40), nn.Linear(40, 12)

    def forward(self, x: Tensor) -> Tensor:
        x += 1
        out: Tensor = self.down(self.up(x).relu_())
        return out


@pytest.mark.parametrize("candidate", ["copy", "narrower", "low-rank", "slot-machine"])
def test_the_calls_inputs_stay_as_they_are(candidate: str) -> None:
    piece, x = varied(InPlace()), tokens().double()
    call = Call((x.clone(),), {}, piece(x.clone()).detach(), len(x))
    make(candidate).build(piece, call)
    assert torch.equal(call.arguments[0], x)


# Specs.


def test_candidates_are_made_of_specs() -> None:
    assert make("low-rank") == of.LowRank()
    assert make({"candidate": "low-rank", "share": 0.5}) == of.LowRank(0.5)
    assert make({"grouped": {"groups": 4}}) == of.Grouped(4)
    assert make(of.Copy()) == of.Copy()
    assert label({"candidate": "low-rank", "share": 0.5}) == "low-rank(share=0.5)"
    for name, candidate in CANDIDATES.items():
        assert candidate.name == name
        assert make(settings_of(candidate, "candidate")) == candidate
        assert CANDIDATES.describe(name).endswith(".")
        assert issubclass(CANDIDATES.entry(name), Candidate)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("lowrank", "unknown candidate 'lowrank'.*did you mean 'low-rank'"),
        ({"candidate": "low-rank", "share": 0}, "share of candidate 'low-rank' must be a number"),
        ({"candidate": "low-rank", "rank": 3}, "takes share, not rank"),
        ({"candidate": "grouped", "groups": 1}, "groups of candidate 'grouped' must be"),
        ({"candidate": "fewer-heads", "heads": 0}, "heads of candidate 'fewer-heads' must be"),
        ({"candidate": "slot-machine", "slots": 2.5}, "slots of candidate 'slot-machine' must be"),
    ],
)
def test_a_wrong_spec_is_told(spec: Any, why: str) -> None:
    with pytest.raises(UserError, match=why):
        make(spec)


# Low rank.

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(7, 5), (2, 3, 7)),
    "linear-wide": (lambda: nn.Linear(5, 7, bias=False), (2, 5)),
    "conv1": (lambda: nn.Conv1d(4, 6, 3, padding="same"), (2, 4, 9)),
    "conv2": (
        lambda: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=1, dilation=(1, 2)),
        (2, 4, 9, 8),
    ),
    "conv2-mirror": (
        lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect", bias=False),
        (2, 4, 6, 6),
    ),
    "conv3": (lambda: nn.Conv3d(2, 3, 2), (2, 2, 4, 4, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_two_layers_of_full_rank_equal_the_one(name: str) -> None:
    layer, x = varied(LAYERS[name][0]()), torch.randn(LAYERS[name][1], dtype=torch.float64)
    weight = layer.get_parameter("weight")
    rank = min(weight.flatten(1).shape)
    close(pair(layer, rank)(x), layer(x))
    assert not torch.allclose(pair(layer, rank - 1)(x), layer(x))


@pytest.mark.parametrize("name", LAYERS)
def test_two_layers_are_the_best_of_their_rank(name: str) -> None:
    layer, x = varied(LAYERS[name][0]()), torch.randn(LAYERS[name][1], dtype=torch.float64)
    weight = layer.get_parameter("weight").detach()
    left, values, right = np.linalg.svd(weight.flatten(1).numpy(), full_matrices=False)
    best = copy.deepcopy(layer)
    with torch.no_grad():
        near = torch.from_numpy(left[:, :2] * values[:2] @ right[:2])
        best.get_parameter("weight").copy_(near.reshape(weight.shape))
    made = pair(layer, 2)
    close(made(x), best(x))
    norms = [each.get_parameter("weight").norm() for each in made]
    close(norms[0], norms[1])


def test_low_rank_counts_weights_and_leaves_what_would_not_shrink() -> None:
    piece = varied(nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 2)))
    call = call_of(piece, torch.randn(1, 8, dtype=torch.float64))
    student: Any = of.LowRank(0.5).build(piece, call)  # ranks 4 and 1
    assert size(student) == 4 * (8 + 12) + 12 + (12 + 2) + 2
    student = of.LowRank(0.6).build(piece, call)  # 5 (8 + 12) are not fewer than 96
    assert type(student[0]) is nn.Linear
    with pytest.raises(UserError, match=r"'low-rank' with a share of 1\.0 finds no nn.Linear"):
        of.LowRank(1.0).build(piece, call)


def test_layers_whose_weights_are_shared_or_made_stay() -> None:
    piece: Any = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Linear(8, 8))
    piece[2].weight = piece[0].weight
    nn.utils.parametrizations.weight_norm(piece[3])
    varied(piece)
    call = call_of(piece, torch.randn(1, 8, dtype=torch.float64))
    for name in ("low-rank", "narrower"):
        with pytest.raises(UserError, match=f"'{name}'"):
            make(name).build(piece, call)


def test_a_layer_in_two_places_is_replaced_in_both() -> None:
    layer = nn.Linear(8, 8)
    piece = varied(nn.Sequential(layer, nn.Tanh(), layer))
    call = call_of(piece, torch.randn(1, 8, dtype=torch.float64))
    student: Any = of.LowRank(0.25).build(piece, call)
    assert student[0] is student[2]
    assert size(student) == 2 * 16 + 8
    with pytest.raises(UserError, match="'narrower' finds no channels to remove"):
        of.Narrower().build(piece, call)


class Reading(nn.Module):
    """Reads a weight of its layer itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.layer.weight)


def test_code_that_reads_a_layers_weight_is_told() -> None:
    piece = varied(Reading())
    call = call_of(piece, torch.randn(1, 8, dtype=torch.float64))
    with pytest.raises(
        UserError, match="'low-rank' cannot be built from this Reading: its own code"
    ):
        of.LowRank().build(piece, call)


# Narrower.

WIDTHS = {
    "residual": {4},
    "downward": {8},
    "bottleneck": {6, 8},
    "vgg": {16},
    "flattening": {32, 64},
    "squeezing": {12, 4},
    "gated": {10},
    "layer": {48},
    "norm-first": {48},
    "encoder": {20},
    "encoder-gelu": {20},
}


@pytest.mark.parametrize("name", WIDTHS)
def test_the_inner_widths_are_found(name: str) -> None:
    piece, call = piece_of(name)
    assert {run.channels for run in runs(traced(piece, call))} == WIDTHS[name]


@pytest.mark.parametrize("name", WIDTHS)
def test_narrower_that_keeps_all_equals_the_piece(name: str) -> None:
    piece, call = piece_of(name)
    close(call.of(of.Narrower(1.0).build(piece, call)), call.output)


@pytest.mark.parametrize("name", sorted(set(WIDTHS) - {"flattening"}))
def test_channels_that_are_not_read_are_those_removed(name: str) -> None:
    piece, call = piece_of(name)
    with torch.no_grad():
        for run in runs(traced(piece, call)):
            dropped = torch.randperm(run.channels)[: run.channels - round(run.channels / 2)]
            for reader, block in run.readers.items():
                places = (dropped[:, None] * block + torch.arange(block)).flatten()
                piece.get_submodule(reader).get_parameter("weight")[:, places] = 0
    (argument,) = call.arguments
    call = call_of(piece, argument)
    student = of.Narrower(0.5).build(piece, call)
    close(call.of(student), call.output)
    x = torch.randn(3, *argument.shape[1:], dtype=torch.float64)
    close(student(x), piece(x))


def test_flattened_maps_are_narrowed_by_channels() -> None:
    piece, call = piece_of("flattening")
    linear: Any = piece.get_submodule("22.1")
    dropped = torch.randperm(32)[:16]
    with torch.no_grad():
        linear.weight.unflatten(1, (32, 4))[:, dropped] = 0
    call = call_of(piece, call.arguments[0])
    (run, _) = runs(traced(piece, call))
    assert run.readers == {"22.1": 4}
    student = copy.deepcopy(piece)
    narrow(student, run, 16)
    assert student.get_submodule("22.1").get_parameter("weight").shape == (64, 64)
    close(call.of(student), call.output)


def test_channels_that_are_not_written_are_those_removed() -> None:
    piece, call = piece_of("residual")
    conv, norm = piece.get_submodule("conv1"), piece.get_submodule("bn1")
    with torch.no_grad():
        conv.get_parameter("weight")[1:3] = 0
        mean, var = norm.get_buffer("running_mean")[1:3], norm.get_buffer("running_var")[1:3]
        scale = norm.get_parameter("weight")[1:3] * (var + 1e-5).rsqrt()
        norm.get_parameter("bias")[1:3] = mean * scale  # the norm's output is zero
    call = call_of(piece, call.arguments[0])
    student = of.Narrower(0.5).build(piece, call)
    close(call.of(student), call.output)
    with torch.no_grad():
        norm.get_parameter("bias")[1:3] += 100
    call = call_of(piece, call.arguments[0])
    kept = of.Narrower(0.5).build(piece, call).get_submodule("bn1").get_parameter("bias")
    assert (kept > 50).sum() == 2


def test_importance_is_the_product_of_what_writes_and_what_reads() -> None:
    piece, call = piece_of("residual")
    (run,) = runs(traced(piece, call))
    found = importance(piece, run)
    state = {name: value.double() for name, value in piece.state_dict().items()}
    for channel in range(4):
        scale = state["bn1.weight"][channel] / (state["bn1.running_var"][channel] + 1e-5).sqrt()
        offset = state["bn1.bias"][channel] - state["bn1.running_mean"][channel] * scale
        write = math.sqrt(((state["conv1.weight"][channel] * scale) ** 2).sum() + offset**2)
        close(found[channel], write * state["conv2.weight"][:, channel].norm())


def test_narrower_counts_weights() -> None:
    piece, call = piece_of("residual")
    assert size(of.Narrower(0.5).build(piece, call)) == 2 * (4 * 2 * 9) + 2 * 2 + 2 * 4
    piece, call = piece_of("layer")
    saved = 36 * (12 + 1 + 12)
    assert size(of.Narrower(0.25).build(piece, call)) == size(piece) - saved
    small: Any = of.Narrower(0.001).build(piece, call)
    assert small.up.out_features == small.down.in_features == 1


class Peeking(nn.Module):
    """Something besides the next layer reads what is between two layers."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.a, self.b, self.how = nn.Linear(4, 4), nn.Linear(4, 4), how

    def forward(self, x: Tensor) -> Any:
        y = self.a(x)
        if self.how == "given":
            return self.b(y), y
        if self.how == "softmax":
            return self.b(y.softmax(-1))
        if self.how == "skip":
            return self.b(y + x)
        if self.how == "constant":
            return self.b(y * torch.arange(4.0))
        if self.how == "mean":
            return self.b(y) + y.mean()
        return self.b(F.layer_norm(y, (4,)))


@pytest.mark.parametrize("how", ["given", "softmax", "skip", "constant", "mean", "norm"])
def test_channels_that_something_else_reads_are_not_narrowed(how: str) -> None:
    piece = varied(Peeking(how), torch.float32)
    with pytest.raises(UserError, match="'narrower' finds no channels to remove in the Peeking"):
        of.Narrower().build(piece, call_of(piece, torch.randn(1, 4)))


@pytest.mark.parametrize(
    "between",
    [nn.BatchNorm1d(4), nn.AvgPool1d(1), nn.Flatten(), nn.LayerNorm(4), nn.Softmax(-1)],
    ids=str,
)
def test_what_takes_channels_elsewhere_is_no_place_to_narrow(between: nn.Module) -> None:
    reader = nn.Linear(16 if isinstance(between, nn.Flatten) else 4, 4)
    piece = varied(nn.Sequential(nn.Linear(4, 4), between, reader))
    with pytest.raises(
        UserError, match="'narrower' finds no channels to remove"
    ):  # 4 tokens, 4 features
        of.Narrower().build(piece, call_of(piece, torch.randn(1, 4, 4, dtype=torch.float64)))


def test_a_piece_that_cannot_be_traced_is_narrowed_in_its_parts() -> None:
    piece = varied(Deciding())
    call = call_of(piece, tokens(6).double(), scale=2.0)
    student: Any = of.Narrower(0.5).build(piece, call)
    assert student.inner.down.in_features == 5
    assert call.of(student)["told"] == "constant"
    deciding = varied(Deciding())
    deciding.inner = nn.Identity()  # type: ignore[assignment]
    with pytest.raises(UserError, match="could not trace all of it \\(Deciding: "):
        of.Narrower().build(deciding, call_of(deciding, tokens(6).double()))


ACTIVATIONS = (nn.ReLU, nn.GELU, nn.Sigmoid, nn.SiLU, nn.Identity)


@st.composite
def chains(draw: st.DrawFn) -> tuple[nn.Sequential, Tensor, float, bool]:
    """Return a chain of layers, an input, a share, and whether there are channels inside.

    Of these, as many are not read as a share of them leaves out.
    """
    torch.manual_seed(draw(st.integers(0, 1000)))
    convolutions, linears = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    share = draw(st.sampled_from([0.2, 0.4, 0.5, 0.75, 1.0]))
    width, side = draw(st.integers(1, 4)), 6
    x = torch.randn(2, width, side, side) if convolutions else torch.randn(2, width)
    layers: list[nn.Module] = []
    reading: list[tuple[nn.Module, int]] = []

    def reads(layer: nn.Module, channels: int) -> None:
        if any(isinstance(each, nn.Linear | nn.Conv2d) for each in layers):
            reading.append((layer, channels))
        layers.append(layer)

    for _ in range(convolutions):
        wider = draw(st.integers(1, 6))
        reads(nn.Conv2d(width, wider, draw(st.sampled_from([1, 3])), padding=1), width)
        layers += [nn.BatchNorm2d(wider)] if draw(st.booleans()) else []
        layers.append(draw(st.sampled_from(ACTIVATIONS))())
        layers += [nn.MaxPool2d(2, 1)] if draw(st.booleans()) else []
        width = wider
    flat = width
    if convolutions and linears:
        layers += [nn.AdaptiveAvgPool2d(draw(st.integers(1, 2))), nn.Flatten()]
        flat = nn.Sequential(*layers).eval()(x).shape[1]
    for _ in range(linears):
        wider = draw(st.integers(1, 6))
        reads(nn.Linear(flat, wider), width)
        layers += [nn.BatchNorm1d(wider)] if draw(st.booleans()) else []
        layers.append(draw(st.sampled_from(ACTIVATIONS))())
        flat = width = wider
    with torch.no_grad():
        for layer, channels in reading:
            dropped = torch.randperm(channels)[max(1, round(share * channels)) :]
            weight = layer.get_parameter("weight").unflatten(1, (channels, -1))
            weight[:, dropped] = 0
    return nn.Sequential(*layers), x.double(), share, bool(reading)


@given(chains())
@settings(max_examples=60, deadline=None)
def test_any_chain_is_narrowed_by_what_is_not_read(
    chain: tuple[nn.Sequential, Tensor, float, bool],
) -> None:
    piece, x, share, has_inner = chain
    call = call_of(varied(piece), x[:1])
    if not has_inner:
        with pytest.raises(UserError, match="'narrower' finds no channels to remove"):
            of.Narrower(share).build(piece, call)
        return
    student = of.Narrower(share).build(piece, call)
    close(student(x), piece(x))
    assert size(student) <= size(piece)


# Grouped and depthwise.


@pytest.mark.parametrize("groups", [2, 4])
def test_grouped_of_a_grouped_teacher_equals_it(groups: int) -> None:
    own = nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=groups)
    piece = nn.Conv2d(8, 12, 3, stride=2, padding=1)
    with torch.no_grad():
        blocks = [list(one) for one in own.weight.chunk(groups)]
        dense = [
            torch.block_diag(*(torch.stack(b)[:, :, i, j] for b in blocks))
            for i in range(3)
            for j in range(3)
        ]
        piece.weight.copy_(torch.stack(dense, -1).unflatten(-1, (3, 3)))
        piece.bias.copy_(own.bias)  # type: ignore[union-attr, arg-type]
    x = torch.randn(2, 8, 7, 7, dtype=torch.float64)
    varied(piece)
    student = of.Grouped(groups).build(piece, call_of(piece, x[:1]))
    close(student(x), piece(x))
    assert size(student) == 8 * 12 * 9 // groups + 12


def test_a_convolution_whose_channels_do_not_divide_stays() -> None:
    piece = varied(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1)))
    student: Any = of.Grouped(2).build(piece, call_of(piece, maps(3).double()))
    assert [layer.groups for layer in student] == [1, 2, 2]


@pytest.mark.parametrize("bias", [True, False])
def test_depthwise_of_a_separable_teacher_equals_it(bias: bool) -> None:
    piece = varied(nn.Conv2d(5, 7, 3, stride=2, padding=1, bias=bias))
    with torch.no_grad():
        patterns, mixing = torch.randn(5, 3, 3).double(), torch.randn(7, 5).double()
        piece.get_parameter("weight").copy_(mixing[:, :, None, None] * patterns)
    x = torch.randn(2, 5, 9, 9, dtype=torch.float64)
    student = of.Depthwise().build(piece, call_of(piece, x[:1]))
    close(student(x), piece(x))
    assert size(student) == 5 * 9 + 5 * 7 + 7 * bias


def test_depthwise_begins_as_the_best_pattern_of_each_channel() -> None:
    piece = varied(nn.Conv1d(3, 6, 5))
    weight = piece.get_parameter("weight").detach().numpy()
    student: Any = of.Depthwise().build(piece, call_of(piece, torch.randn(1, 3, 9).double()))
    found = (student[1].weight * student[0].weight.transpose(0, 1)).detach().numpy()
    for channel in range(3):
        left, values, right = np.linalg.svd(weight[:, channel], full_matrices=False)
        best = np.outer(left[:, 0] * values[0], right[0])
        np.testing.assert_allclose(found[:, channel], best, atol=1e-10)


# Heads.


def silenced(outward: Tensor, heads: int, quiet: list[int]) -> None:
    """Write zeros where some heads are read; the last axis is (heads × width)."""
    with torch.no_grad():
        outward.unflatten(-1, (heads, -1))[..., quiet, :] = 0


@pytest.mark.parametrize("causal", [True, False])
def test_heads_that_are_not_read_are_those_removed(causal: bool) -> None:
    piece: Any = varied(Layer(12, 4, causal))
    silenced(piece.attention.outward.weight, 4, [0, 2])
    x = torch.randn(3, 5, 12, dtype=torch.float64)
    call = call_of(piece, x[:1])
    for candidate in (of.FewerHeads(0.5), of.FewerHeads(heads=2)):
        student: Any = candidate.build(piece, call)
        close(student(x), piece(x))
        assert student.attention.heads == 2
        assert size(student) == size(piece) - (3 * 6 * 13 + 6 * 12)
    assert not torch.allclose(of.FewerHeads(heads=1).build(piece, call)(x), piece(x))


ATTENTION = {
    "plain": {},
    "no-bias": {"bias": False},
    "tokens-first": {"batch_first": False},
    "apart": {"kdim": 5, "vdim": 7},
}


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize(
    "masks", [(), ("attn_mask",), ("key_padding_mask",), ("attn_mask", "key_padding_mask")]
)
@pytest.mark.parametrize("name", ATTENTION)
def test_heads_of_pytorchs_attention(name: str, masks: tuple[str, ...], need_weights: bool) -> None:
    options: dict[str, Any] = {"batch_first": True} | ATTENTION[name]
    piece: Any = varied(nn.MultiheadAttention(12, 4, **options))
    silenced(piece.out_proj.weight, 4, [1, 2, 3])
    sizes = (12, options.get("kdim", 12), options.get("vdim", 12))
    given = [torch.randn(2, 5 + (place > 0), width).double() for place, width in enumerate(sizes)]
    given = given if options["batch_first"] else [each.transpose(0, 1) for each in given]
    every = {
        "attn_mask": torch.ones(5, 6).triu(1).bool(),
        "key_padding_mask": torch.tensor([[False] * 6, [False] * 4 + [True] * 2]),
    }
    keywords = {mask: every[mask] for mask in masks} | {"need_weights": need_weights}
    call = call_of(piece, *given, **keywords)
    student = of.FewerHeads(heads=1).build(piece, call)
    found, weights = call.of(student)
    close(found, call.output[0])
    assert (weights is None) is not need_weights
    if need_weights:
        close(weights.sum(-1), torch.ones(2, 5, dtype=torch.float64))
    inward = 3 * (12 + 1) if options.get("bias", True) else 3 * 12
    inward = (12 + 5 + 7) + 3 if name == "apart" else inward
    assert size(student) == 3 * inward + 3 * 12 + 12 * options.get("bias", True)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("name", ["encoder", "encoder-gelu"])
def test_heads_and_ranks_in_pytorchs_transformer(name: str) -> None:
    piece, call = piece_of(name)
    silenced(piece.get_parameter("self_attn.out_proj.weight"), 4, [0, 3])
    with torch.no_grad():
        up = piece.get_parameter("linear1.weight")
        up[:, 1:] = up[:, :1]  # rank 1
        down = piece.get_parameter("linear2.weight")
        down[:, 1:] = down[:, :1]
    call = call_of(piece, call.arguments[0])
    for candidate in (of.FewerHeads(0.5), of.LowRank(0.1)):
        student = candidate.build(piece, call)
        with torch.no_grad():  # where PyTorch would run a fused kernel
            close(call.of(student), call.output)
        close(call.of(student.train().eval()), call.output)
    stack = nn.TransformerEncoder(encoder(), 2, enable_nested_tensor=True)
    varied(stack)
    padding = torch.tensor([[False] * 4 + [True]])
    call = call_of(stack, tokens().double(), src_key_padding_mask=padding)
    for candidate in (of.FewerHeads(0.5), of.LowRank(0.1), of.Narrower()):
        assert candidate.build(stack, call) is not None


def test_a_mask_for_each_head_is_told() -> None:
    piece = varied(nn.MultiheadAttention(12, 4, batch_first=True))
    x = tokens().double()
    call = call_of(piece, x, x, x, attn_mask=torch.zeros(4, 5, 5).double())
    with pytest.raises(UserError, match="not one for each original head"):
        of.FewerHeads().build(piece, call)
    call = call_of(piece, x, x, x, average_attn_weights=False)
    with pytest.raises(
        UserError, match=r"it would return .*\(1, 2, 5, 5\).*, not .*\(1, 4, 5, 5\)"
    ):
        of.FewerHeads().build(piece, call)


def test_attention_that_is_not_known_is_refused() -> None:
    for options in ({"add_bias_kv": True}, {"add_zero_attn": True}):
        piece = varied(nn.MultiheadAttention(12, 4, batch_first=True, **options))
        assert kind_of(piece) is None
        x = tokens().double()
        with pytest.raises(UserError, match=r"'fewer-heads' with a share of 0\.5 finds nothing"):
            of.FewerHeads().build(piece, call_of(piece, x, x, x))


def test_strengths_are_norms_of_products() -> None:
    own: Any = varied(Attention(12, 4, causal=False))
    other: Any = varied(nn.MultiheadAttention(12, 4))
    for module, value, offset, outward in (
        (own, own.inward.weight[24:], own.inward.bias[24:], own.outward.weight),
        (other, other.in_proj_weight[24:], other.in_proj_bias[24:], other.out_proj.weight),
    ):
        kind: Any = kind_of(module)
        found = kind.strengths(module)
        for head in range(4):
            own_rows = slice(3 * head, 3 * head + 3)
            into = torch.cat([value[own_rows], offset[own_rows, None]], 1)
            close(found[head], (outward[:, own_rows] @ into).norm().detach())


# Grouped queries.


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
def test_keys_and_values_that_are_alike_are_shared(groups: int, causal: bool) -> None:
    piece: Any = varied(Layer(12, 4, causal))
    with torch.no_grad():
        for values in (piece.attention.inward.weight, piece.attention.inward.bias):
            shared = values.unflatten(0, (3, groups, 4 // groups, 3))[1:]
            shared.copy_(shared[:, :, :1].clone().expand_as(shared))
    x = torch.randn(3, 5, 12, dtype=torch.float64)
    student = of.GroupedQuery(groups).build(piece, call_of(piece, x[:1]))
    close(student(x), piece(x))
    assert size(student) == size(piece) - 2 * (12 - 3 * groups) * 13


def test_keys_and_values_begin_from_their_means() -> None:
    piece: Any = varied(Attention(12, 4, causal=True))
    student: Any = of.GroupedQuery(2).build(piece, call_of(piece, tokens().double()))
    keys = piece.inward.weight[12:24].unflatten(0, (4, 3))
    close(student.key.weight[3:], (keys[2] + keys[3]) / 2)
    with pytest.raises(UserError, match="cannot divide keys and values of 4 heads into 3 groups"):
        of.GroupedQuery(3).build(piece, call_of(piece, tokens().double()))


# From scratch.


def test_linear_on_maps_takes_every_second_position() -> None:
    piece, call = piece_of("downward")
    student: Any = of.Linear(seed=4).build(piece, call)
    assert (student.stride, student.kernel_size) == ((2, 2), (1, 1))
    assert size(student) == 4 * 8 + 8
    again: Any = of.Linear(seed=4).build(piece, call)
    assert torch.equal(again.weight, student.weight)
    assert not torch.equal(of.Linear(seed=5).build(piece, call).weight, student.weight)


def test_linear_flattens_maps_where_features_go_out() -> None:
    piece, call = piece_of("flattening")
    assert size(of.Linear().build(piece, call)) == 32 * 4 * 4 * 10 + 10
    odd = varied(nn.Sequential(nn.Conv2d(4, 4, 3, padding=3)))
    with pytest.raises(UserError, match="'linear' keeps the positions, uses every second"):
        of.Linear().build(odd, call_of(odd, maps().double()))
    ids = varied(nn.Embedding(5, 4))
    with pytest.raises(
        UserError, match=r"'linear' needs a first tensor of real numbers: .* torch.int"
    ):
        of.Linear().build(ids, call_of(ids, torch.ones(1, 3, dtype=torch.int64)))


def test_linear_on_channels_of_a_sequence_is_a_convolution() -> None:
    piece = varied(nn.Sequential(nn.Conv1d(4, 6, 3, padding=1), nn.ReLU()))
    student = of.Linear().build(piece, call_of(piece, torch.randn(1, 4, 6).double()))
    assert isinstance(student, nn.Conv1d)


class Mixed(nn.Module):
    """Ends in a layer on features of maps that it turns back in its own code."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(x).movedim(1, -1)).movedim(-1, 1)
        return out


def test_linear_asks_where_channels_are() -> None:
    piece = varied(Mixed())
    with pytest.raises(UserError, match="'linear' must know which axis holds channels"):
        of.Linear().build(piece, call_of(piece, maps(4, 4).double()))


def test_of_several_tensors_the_first_is_read_and_the_containers_are_kept() -> None:
    piece = varied(Deciding())
    x, mask = tokens(6).double(), torch.ones(1, 5, 1, dtype=torch.float64)
    call = call_of(piece, x, mask=mask, scale=2.0)
    found = call.of(of.Identity().build(piece, call))
    assert found["told"] == "constant"
    assert torch.equal(found["hidden"], x)
    student = of.Linear().build(piece, call)
    assert size(student) == 6 * 6 + 6
    assert call.of(student)["hidden"].shape == x.shape


def test_a_slot_machine_draws_its_values() -> None:
    piece, call = piece_of("residual")
    student = of.SlotMachine(4, seed=2).build(piece, call)
    machine: Any = machine_of(student)
    assert [reel.kind.planes for reel in machine.reels] == [4, 4]
    with torch.no_grad():
        piece.get_parameter("conv1.weight").mul_(5)
    again = of.SlotMachine(4, seed=2).build(piece, call_of(piece, call.arguments[0]))
    assert torch.equal(again.get_parameter("conv1.weight"), student.get_parameter("conv1.weight"))
    other = of.SlotMachine(4, seed=3).build(piece, call_of(piece, call.arguments[0]))
    assert not torch.equal(
        other.get_parameter("conv1.weight"), student.get_parameter("conv1.weight")
    )
    kept = of.SlotMachine(4, biases=True).build(piece, call_of(piece, call.arguments[0]))
    assert size(kept) == size(piece) > size(student)


# Hugging Face.


def gpt2() -> tuple[Any, Call]:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        n_layer=1, n_head=4, n_embd=12, vocab_size=11, n_positions=8, resid_pdrop=0.0
    )
    return foreign(transformers.GPT2LMHeadModel(config), "transformer.h.0")


def llama(kind: str = "Llama", pairs: int = 4) -> tuple[Any, Call]:
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=24,
        intermediate_size=20,
        num_hidden_layers=1,
        num_attention_heads=8,
        num_key_value_heads=pairs,
        head_dim=4,
        vocab_size=11,
        attention_bias=True,
    )
    return foreign(getattr(transformers, f"{kind}ForCausalLM")(config), "model.layers.0")


def foreign(model: nn.Module, name: str) -> tuple[Any, Call]:
    varied(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) / 5)  # biases too
    batch = {"input_ids": torch.randint(11, (1, 8)), "use_cache": False}
    wanted = split(model, [name])
    return wanted[0].piece(model), calls(model, wanted, batch)[name]


def first(output: Any) -> Tensor:
    found: Tensor = output[0] if isinstance(output, tuple) else output
    return found


LANGUAGE = {
    "gpt2": gpt2,
    "llama": llama,
    "mistral": lambda: llama("Mistral"),
    "qwen3": lambda: llama("Qwen3"),
    "qwen2": lambda: llama("Qwen2"),
}


@pytest.mark.foreign
@pytest.mark.parametrize("name", LANGUAGE)
@pytest.mark.parametrize(
    "candidate",
    ["copy", "narrower", "low-rank", "fewer-heads", "slot-machine", "linear", "identity"],
)
def test_students_of_hugging_faces_layers_fit(candidate: str, name: str) -> None:
    piece, call = LANGUAGE[name]()
    before = copy.deepcopy(piece.state_dict())
    student = make(candidate).build(piece, call)
    found = call.of(student)
    assert type(found) is type(call.output)
    assert first(found).shape == first(call.output).shape
    assert size(student) < size(piece) or candidate in ("copy", "slot-machine")
    assert all(torch.equal(before[key], value) for key, value in piece.state_dict().items())
    assert not memory(student) & memory(piece)


@pytest.mark.foreign
@pytest.mark.parametrize("name", LANGUAGE)
def test_feed_forward_features_that_are_not_read_are_those_removed(name: str) -> None:
    piece, call = LANGUAGE[name]()
    width = 48 if name == "gpt2" else 20
    quiet = torch.randperm(width)[: width // 2]
    with torch.no_grad():
        if name == "gpt2":
            piece.mlp.c_proj.weight[quiet] = 0
        else:
            piece.mlp.down_proj.weight[:, quiet] = 0
    call = call_of(piece, *call.arguments, **call.keywords)
    student = of.Narrower(0.5).build(piece, call)
    close(first(call.of(student)), first(call.output))
    down = student.mlp.c_proj.nx if name == "gpt2" else student.mlp.down_proj.in_features
    assert down == width // 2


@pytest.mark.foreign
def test_full_and_low_ranks_of_gpt2s_layers() -> None:
    piece, _ = gpt2()
    layer, x = piece.mlp.c_fc, torch.randn(2, 3, 12, dtype=torch.float64)
    close(pair(layer, 12)(x), layer(x))


@pytest.mark.foreign
def test_heads_of_gpt2_that_are_not_read_are_those_removed() -> None:
    piece, call = gpt2()
    silenced(piece.attn.c_proj.weight.t(), 4, [0, 3])
    call = call_of(piece, *call.arguments, **call.keywords)
    student: Any = of.FewerHeads(0.5).build(piece, call)
    close(first(call.of(student)), first(call.output))
    assert student.attn.num_heads == 2
    assert size(student) == size(piece) - (3 * 6 * 13 + 6 * 12)
    with pytest.raises(UserError, match="'grouped-query' with 1 groups finds nothing to share"):
        of.GroupedQuery().build(piece, call)


@pytest.mark.foreign
@pytest.mark.parametrize("pairs", [8, 4, 2])
def test_heads_of_llama_that_are_not_read_are_those_removed(pairs: int) -> None:
    piece, call = llama(pairs=pairs)
    quiet = list(range(8 // pairs))  # those of the first pair of keys and values
    silenced(piece.self_attn.o_proj.weight, 8, quiet)
    call = call_of(piece, *call.arguments, **call.keywords)
    student: Any = of.FewerHeads(heads=8 - len(quiet)).build(piece, call)
    close(first(call.of(student)), first(call.output))
    assert student.self_attn.k_proj.out_features == 4 * (pairs - 1)
    if pairs < 8:
        with pytest.raises(UserError, match="share keys and values and are kept together"):
            of.FewerHeads(heads=7).build(piece, call)


@pytest.mark.foreign
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("name", ["llama", "mistral", "qwen2", "qwen3"])
def test_keys_and_values_of_llamas_kind_that_are_alike_are_shared(name: str, groups: int) -> None:
    piece, call = LANGUAGE[name]()
    with torch.no_grad():
        for layer in (piece.self_attn.k_proj, piece.self_attn.v_proj):
            for values in layer.parameters():
                shared = values.unflatten(0, (groups, 4 // groups, 4))
                shared.copy_(shared[:, :1].clone().expand_as(shared))
    call = call_of(piece, *call.arguments, **call.keywords)
    student: Any = of.GroupedQuery(groups).build(piece, call)
    close(first(call.of(student)), first(call.output))
    assert student.self_attn.num_key_value_groups == 8 // groups
    inputs = 24 + (piece.self_attn.k_proj.bias is not None)
    assert size(student) == size(piece) - 2 * (4 - groups) * 4 * inputs


@pytest.mark.foreign
def test_attention_of_other_kinds_is_refused() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.Phi3Config(
        hidden_size=24,
        intermediate_size=20,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=4,
        vocab_size=11,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    piece, call = foreign(transformers.Phi3ForCausalLM(config), "model.layers.0")
    for name in ("fewer-heads", "grouped-query"):
        with pytest.raises(UserError, match=f"'{name}' with .* finds nothing"):
            make(name).build(piece, call)
    assert len(KINDS) == 4
