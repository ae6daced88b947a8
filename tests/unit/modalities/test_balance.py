"""Balancing modalities: the papers' gradients, on any encoder, or a refusal that says why."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import beyondprop as bp
from beyondprop.errors import UserError
from beyondprop.modalities import Attention, Concatenation, Fusion, MultimodalNetwork
from beyondprop.modalities.balance import (
    BALANCES,
    Balance,
    GradientBlending,
    GradientModulation,
    Joint,
    Losses,
    MMPareto,
    UniModalTeachers,
    blending_weights,
    make,
)
from beyondprop.modalities.balance.modulation import coefficients
from beyondprop.modalities.balance.pareto import common
from tests.reference import balance as reference

NAMES = ("sound", "sight", "touch")
FEATURES = {"sound": 3, "sight": 5, "touch": 2}
WIDTH, CLASSES, SAMPLES = 3, 4, 6
WEIGHTS = {"sound": 0.2, "sight": 0.1, "touch": 0.3, "joint": 0.4}


def network(names: tuple[str, ...] = NAMES, seed: int = 0, **given: Any) -> MultimodalNetwork:
    """A network of the reference's form; one modality is well ahead."""
    torch.manual_seed(seed)
    encoders = {m: nn.Sequential(nn.Linear(FEATURES[m], 4), nn.Tanh()) for m in names}
    fusion = Concatenation(dict.fromkeys(names, 4), WIDTH)
    return MultimodalNetwork(encoders, fusion, nn.Linear(fusion.features, CLASSES), **given)


def heads(names: tuple[str, ...] = NAMES, outputs: int = CLASSES) -> nn.ModuleDict:
    torch.manual_seed(1)
    return nn.ModuleDict({m: nn.Linear(WIDTH, outputs) for m in names})


def batch(names: tuple[str, ...] = NAMES, seed: int = 0) -> tuple[dict[str, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = {m: torch.randn(SAMPLES, FEATURES[m], generator=generator) for m in names}
    return x, torch.randint(CLASSES, (SAMPLES,), generator=generator)


def balances(names: tuple[str, ...] = NAMES) -> list[Balance]:
    weights = {m: WEIGHTS[m] for m in (*names, "joint")}
    return [
        Joint(),
        GradientBlending(weights),
        GradientModulation(0.7, noise=0),
        MMPareto(),
        UniModalTeachers(2.0, dict(network(names, seed=5).double().encoders)),
    ]


LABELS = [each.name for each in balances()]


def gradients(*modules: nn.Module) -> list[Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for m in modules for p in m.parameters()]


def present(found: list[Tensor | None]) -> list[Tensor]:
    """Return gradients of which none is missing."""
    assert all(each is not None for each in found)
    return [each for each in found if each is not None]


def same(found: list[Tensor | None], expected: list[Tensor | None], **limits: float) -> None:
    assert len(found) == len(expected)
    for each, other in zip(found, expected, strict=True):
        torch.testing.assert_close(each, other, **limits)


def step(
    balance: Balance, model: MultimodalNetwork, own: nn.ModuleDict, x: Any, y: Any, loss: Any = None
) -> list[Tensor | None]:
    """Return the gradients of the network and of the heads."""
    balance.begin(model, own, loss or F.cross_entropy).differentiate(x, y)
    return gradients(model, own)


# The papers ---------------------------------------------------------------------------------------


def plain(model: MultimodalNetwork, own: nn.ModuleDict) -> dict[str, Any]:
    """Return a network in the reference's form."""

    def array(tensor: Tensor) -> Any:
        return tensor.detach().numpy().copy()

    encoders: Any = model.encoders
    project: Any = model.fusion.project
    head: Any = model.head
    rows = head.weight.split(WIDTH, 1)
    return {
        "A": {m: array(encoders[m][0].weight) for m in model.modalities},
        "a": {m: array(encoders[m][0].bias) for m in model.modalities},
        "P": {m: array(project[m].weight) for m in model.modalities},
        "p": {m: array(project[m].bias) for m in model.modalities},
        "W": {m: array(each) for m, each in zip(model.modalities, rows, strict=True)},
        "b": array(head.bias),
        "V": {m: array(own[m].weight) for m in model.modalities},
        "v": {m: array(own[m].bias) for m in model.modalities},
    }


def by_name(model: MultimodalNetwork, own: nn.ModuleDict) -> dict[str, Any]:
    """Return gradients in the reference's form, zeros where there are none."""
    learned = nn.ModuleDict({"model": model, "heads": own})
    kept = {p: p.data for p in learned.parameters()}
    for p in kept:
        p.data = torch.zeros_like(p) if p.grad is None else p.grad
    try:
        return plain(model, own)
    finally:
        for p, data in kept.items():
            p.data = data


def expected(
    balance: Balance, made: dict[str, Any], x: Any, present: Any, y: Any, teachers: Any
) -> dict[str, Any]:
    data = ({m: each.numpy() for m, each in x.items()}, present, y.tolist())
    ways: dict[type[Balance], Callable[[], dict[str, Any]]] = {
        Joint: lambda: reference.joint(made, *data)[0],
        GradientBlending: lambda: reference.blended(made, *data, WEIGHTS),
        GradientModulation: lambda: reference.modulated(made, *data, 0.7),
        MMPareto: lambda: reference.pareto(made, *data, 1.5),
        UniModalTeachers: lambda: reference.taught(made, teachers, *data, 2.0),
    }
    return ways[type(balance)]()


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("names", [NAMES[:2], NAMES], ids=["two", "three"])
@pytest.mark.parametrize("which", range(5), ids=LABELS)
def test_gradients_are_those_of_the_papers(
    which: int, names: tuple[str, ...], missing: bool
) -> None:
    conflicts = 0
    for seed in range(3):
        balance = balances(names)[which]
        model, own = network(names, seed).double(), heads(names).double()
        x, y = batch(names, seed)
        x = {m: each.double() for m, each in x.items()}
        rows = torch.ones(SAMPLES, len(names), dtype=torch.bool)
        if missing:
            rows[0, 0] = rows[1, 1] = rows[2, 1] = False
        present = {m: rows[:, i].tolist() for i, m in enumerate(names)}
        teachers = plain(network(names, seed=5).double(), own)
        made = plain(model, own)
        steps = balance.begin(model, own, F.cross_entropy)
        loss = steps.differentiate({**x, "present": rows} if missing else x, y)
        found = by_name(model, own)
        wanted = expected(balance, made, x, present, y, teachers)
        for key, value in wanted.items():
            pairs = (
                [(found[key][m], value[m]) for m in value] if key != "b" else [(found[key], value)]
            )
            for each, other in pairs:
                torch.testing.assert_close(
                    torch.tensor(each), torch.tensor(other), rtol=1e-12, atol=1e-12
                )
        data = ({m: each.numpy() for m, each in x.items()}, present, y.tolist())
        assert not loss.requires_grad
        assert loss.item() == pytest.approx(reference.joint(made, *data)[1], rel=1e-12)
        for m in names:
            g, u = reference.joint(made, *data)[0], reference.alone(made, *data, m)
            conflicts += sum((g[k][m] * u[k][m]).sum() for k in reference.OWN) < 0
    assert 0 < conflicts < 3 * len(names)  # both cases of MMPareto are there


# Gradient-Blending --------------------------------------------------------------------------------


BEFORE = {"a": (2.0, 2.1), "b": (2.0, 2.0), "joint": (2.0, 2.2)}
AFTER = {"a": (1.0, 1.5), "b": (1.8, 1.9), "joint": (0.5, 1.2)}


def measured(table: Mapping[str, tuple[float, float]]) -> dict[str, Losses]:
    return {name: Losses(*each) for name, each in table.items()}


def test_blending_weights_are_those_of_a_table() -> None:
    found = blending_weights(measured(BEFORE), measured(AFTER))
    # G = 0.6, 0.1, 1.0; the gaps grow by 0.4, 0.1, 0.5.
    raw = {"a": 0.6 / 0.16, "b": 0.1 / 0.01, "joint": 1.0 / 0.25}
    assert found == pytest.approx({name: each / 17.75 for name, each in raw.items()}, rel=1e-12)
    assert found == pytest.approx(reference.weights(BEFORE, AFTER), rel=1e-12)
    worse = {**AFTER, "b": (1.0, 2.3)}
    found = blending_weights(measured(BEFORE), measured(worse))
    assert found["b"] == 0
    assert found["a"] == pytest.approx(3.75 / 7.75)


positive = st.floats(0.01, 10)


@given(st.lists(st.tuples(positive, positive, positive), min_size=2, max_size=4))
def test_no_blend_overfits_less_for_what_it_generalises(
    rows: list[tuple[float, float, float]],
) -> None:
    before = {str(i): Losses(5.0, 20.0) for i in range(len(rows))}
    after = {str(i): Losses(5.0 - g - o, 20.0 - g) for i, (g, o, _) in enumerate(rows)}
    best = blending_weights(before, after)

    def ratio(weights: list[float]) -> float:
        overfitted = sum((w * o) ** 2 for w, (_, o, _) in zip(weights, rows, strict=True))
        return overfitted / sum(w * g for w, (g, _, _) in zip(weights, rows, strict=True)) ** 2

    assert sum(best.values()) == pytest.approx(1)
    assert ratio(list(best.values())) <= ratio([other for _, _, other in rows]) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (BEFORE, {"a": (1.0, 1.5)}, "measure the same networks twice"),
        ({}, {}, "of nothing"),
        ({"a": (2.0, 2.0)}, {"a": (1.0, 2.0)}, "no network's validation loss fell"),
        ({"a": (2.0, 2.0)}, {"a": (1.0, 1.0)}, "'a' did not change"),
        ({"a": (2.0, 2.0)}, {"a": (math.nan, 1.0)}, "'a' are not all finite"),
    ],
)
def test_weights_that_cannot_be_found(before: Any, after: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        blending_weights(measured(before), measured(after))


# OGM-GE -------------------------------------------------------------------------------------------


def test_coefficients_of_two_are_the_papers() -> None:
    found = coefficients({"a": 0.6, "b": 0.2}, 0.5)
    assert found == {"a": pytest.approx(1 - math.tanh(1.5), rel=1e-12), "b": 1.0}
    assert coefficients({"a": 0.2, "b": 0.2}, 0.5) == {"a": 1.0, "b": 1.0}
    assert coefficients({"a": 0.2}, 0.5) == {"a": 1.0}
    assert coefficients({"a": 0.0, "b": 0.0}, 0.5) == {"a": 1.0, "b": 1.0}
    assert coefficients({"a": 0.5, "b": 0.0}, 0.5)["a"] == pytest.approx(0)


SCORES = st.floats(0.01, 1).map(lambda score: round(score, 6))  # which is ahead is no rounding


@given(st.dictionaries(st.text(max_size=3), SCORES, min_size=2), st.floats(0.01, 1))
def test_who_is_ahead_is_held_back_and_the_weakest_never(
    scores: dict[str, float], alpha: float
) -> None:
    found = coefficients(scores, alpha)
    assert all(0 < each <= 1 for each in found.values())
    assert found[min(scores, key=scores.__getitem__)] == 1
    assert found == pytest.approx(reference.coefficients(scores, alpha), rel=1e-9, abs=1e-12)
    best = max(scores.values())
    assert min(found.values()) == min(found[m] for m in scores if scores[m] == best)


class Recurrent(nn.Module):
    """Words to the last state: an embedding, a recurrent layer, attention and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.cell = nn.Embedding(7, 4), nn.GRU(4, 4, batch_first=True)
        self.attend, self.norm = nn.MultiheadAttention(4, 2, batch_first=True), nn.LayerNorm(4)

    def forward(self, words: Tensor) -> Tensor:
        states, _ = self.cell(self.embed(words))
        read, _ = self.attend(states, states, states)
        out: Tensor = self.norm(read).mean(1)
        return out


def mixed(kind: type[Fusion] = Attention) -> tuple[MultimodalNetwork, dict[str, Any], Tensor]:
    """A network of a table, an image and words, in its first step."""
    torch.manual_seed(0)
    encoders = {
        "table": nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU()),
        "image": nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten()),
        "words": Recurrent(),
    }
    fusion: Any = kind({"table": 8, "image": 18, "words": 4}, 6)
    head = nn.Sequential(nn.Linear(fusion.features, 8), nn.BatchNorm1d(8), nn.Linear(8, CLASSES))
    x = {
        "table": torch.randn(7, 3),
        "image": torch.randn(7, 1, 5, 5),
        "words": torch.randint(7, (7, 5)),
    }
    return MultimodalNetwork(encoders, fusion, head), x, torch.randint(CLASSES, (7,))


def test_modulation_reaches_every_parameter_of_any_encoder() -> None:
    model, x, y = mixed()
    step(Joint(), model, nn.ModuleDict(), x, y)
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    moved = {name: each.clone() for name, each in model.named_buffers()}
    model, x, y = mixed()
    step(GradientModulation(noise=0), model, nn.ModuleDict(), x, y)
    factors: dict[str, float] = {}
    for name, p in model.named_parameters():
        assert p.grad is not None
        owner = next((m for m in model.modalities if f".{m}." in name), "the rest")
        factor = (p.grad.norm() / expected[name].norm()).item() if owner != "the rest" else 1.0
        factor = factors.setdefault(owner, factor) if expected[name].norm() > 1e-6 else 1.0
        torch.testing.assert_close(p.grad, factor * expected[name], rtol=1e-4, atol=1e-6)
    assert min(factors.values()) < 0.9
    assert max(factors.values()) == pytest.approx(1, abs=1e-5)
    # Scores moved no running mean, and left modes and hooks as they were.
    same(list(moved.values()), list(dict(model.named_buffers()).values()))
    assert all(each.training for each in model.modules())
    assert not model.fusion._forward_pre_hooks


def test_noise_is_as_large_as_the_gradient() -> None:
    names = NAMES[:2]
    x, y = batch(names)
    model = network(names)
    quiet = step(GradientModulation(noise=0), model, nn.ModuleDict(), x, y)
    model.zero_grad()
    plainly = step(Joint(), model, nn.ModuleDict(), x, y)
    model.zero_grad()
    torch.manual_seed(3)
    loud = step(GradientModulation(noise=0.5), model, nn.ModuleDict(), x, y)
    torch.manual_seed(3)
    named = [name for name, _ in model.named_parameters()]
    found = dict(zip(named, zip(quiet, plainly, loud, strict=True), strict=True))
    for m in names:  # in the order of modalities: an encoder, then its projection
        for name in [each for each in named if f".{m}." in each]:
            still, before, after = found.pop(name)
            drawn = torch.randn_like(before) * 0.5 * before.std()
            torch.testing.assert_close(after, still + drawn, rtol=1e-4, atol=1e-6)
    assert set(found) == {"head.weight", "head.bias"}
    for still, _, after in found.values():
        torch.testing.assert_close(still, after)


def test_scores_are_the_networks_own_outputs_with_one_modality() -> None:
    """For heads and fusions of any kind, and without what dropout of modalities left out."""
    model, x, y = mixed()
    model.head.eval()  # its batch norm, so that the outputs can be asked for behind
    found = step(GradientModulation(1.0, noise=0), model, nn.ModuleDict(), x, y)
    model.zero_grad()
    plainly = step(Joint(), model, nn.ModuleDict(), x, y)
    with torch.no_grad():
        scores = {m: model(**{m: x[m]}).softmax(1).gather(1, y[:, None]).mean().item() for m in x}
    factors = coefficients(scores, 1.0)
    named = [name for name, _ in model.named_parameters()]
    for name, each, other in zip(named, found, plainly, strict=True):
        assert other is not None
        factor = next((factors[m] for m in x if f".{m}." in name), 1.0)
        torch.testing.assert_close(each, factor * other, rtol=1e-3, atol=1e-6)


# MMPareto -----------------------------------------------------------------------------------------


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_directions_by_hand() -> None:
    limits = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(common(vector(1, 0), vector(1, 2)), vector(2, 2), **limits)
    torch.testing.assert_close(common(vector(1, 0), vector(0, 2)), vector(1, 2), **limits)
    # The shortest between (1, 0) and (-1, 1) is (0.2, 0.4); their sum has the length 1.
    torch.testing.assert_close(
        common(vector(1, 0), vector(-1, 1)), vector(1, 2) / math.sqrt(5), **limits
    )
    # The whole line of (3, 1) to (-1, 0): the least lies inside, nearer to the short one.
    found = common(vector(3, 1), vector(-1, 0))
    assert found.norm().item() == pytest.approx(math.sqrt(5))
    assert (found @ vector(4, 1)).item() == pytest.approx(0, abs=1e-12)  # normal to the line
    torch.testing.assert_close(common(vector(0, 0), vector(-1, 1)), vector(-1, 1), **limits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_opposite_gradients_have_no_common_direction(dtype: torch.dtype) -> None:
    g = torch.randn(50, dtype=dtype)
    assert not common(g, -0.3 * g).any()


numbers = st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=5)


@settings(max_examples=300)
@given(
    numbers.flatmap(
        lambda g: st.tuples(
            st.just(g), st.lists(st.floats(-1e3, 1e3, width=32), min_size=len(g), max_size=len(g))
        )
    )
)
def test_no_direction_opposes_either_gradient(pair: tuple[list[float], list[float]]) -> None:
    g, u = vector(*pair[0]), vector(*pair[1])
    found = common(g, u)
    length = found.norm()
    assert found.isfinite().all()
    assert (found @ g).item() >= -1e-6 * (length * g.norm()).item()
    assert (found @ u).item() >= -1e-6 * (length * u.norm()).item()
    if found.any():
        assert length.item() == pytest.approx((g + u).norm().item(), rel=1e-9)


# Teachers -----------------------------------------------------------------------------------------


def test_teachers_stay_as_they_are() -> None:
    model, (x, y) = network(), batch()
    steps = UniModalTeachers(1.0, dict(model.encoders)).begin(model, heads(), F.cross_entropy)
    expected = present(step(Joint(), network(), nn.ModuleDict(), x, y))
    assert not steps.modules
    steps.differentiate(x, y)
    steps.differentiate(x, y)  # the same modules began: no distance yet
    same(gradients(model), [2 * each for each in expected])
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1)
    before = step(Joint(), network(), nn.ModuleDict(), x, y)[0]
    model.zero_grad()
    steps.differentiate(x, y)
    assert not torch.equal(gradients(model)[0], before)


def test_a_teacher_has_the_encoders_features() -> None:
    model, (x, y) = network(), batch()
    teachers = dict(model.encoders) | {"sight": nn.Linear(5, 1)}
    steps = UniModalTeachers(1.0, teachers).begin(model, heads(), F.cross_entropy)
    with pytest.raises(UserError, match=r"'sight' returns \(6, 1\), and the encoder \(6, 4\)"):
        steps.differentiate(x, y)


# All of them --------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", range(5), ids=LABELS)
def test_what_is_missing_is_left_out(which: int) -> None:
    balance, model, own = balances()[which], network().double(), heads().double()
    x, y = batch()
    x = {m: each.double() for m, each in x.items()}
    rows = torch.ones(SAMPLES, 3, dtype=torch.bool)
    rows[:2, 0] = rows[3:, 1] = False
    found = step(balance, model, own, {**x, "present": rows}, y)
    x["sound"][:2] = x["sight"][3:] = math.nan
    model.zero_grad()
    own.zero_grad()
    same(step(balance, model, own, {**x, "present": rows}, y), found)
    model.zero_grad()
    own.zero_grad()
    rows[:] = True
    rows[:, 0] = False
    x["sight"] = batch()[0]["sight"].double()
    found = step(balance, model, own, {**x, "present": rows}, y)
    assert all(p.grad is None or not p.grad.any() for p in model.encoders["sound"].parameters())
    model.zero_grad()
    own.zero_grad()
    del x["sound"]
    same(step(balance, model, own, x, y), found)


@pytest.mark.parametrize("which", range(5), ids=LABELS)
def test_modalities_that_dropout_leaves_out_do_no_harm(which: int) -> None:
    balance, model, own = balances()[which], network(dropout=0.6).double(), heads().double()
    x, y = batch()
    steps = balance.begin(model, own, F.cross_entropy)
    for _ in range(10):
        steps.differentiate({m: each[:2].double() for m, each in x.items()}, y[:2])
    found = gradients(model, own)
    assert all(each is None or each.isfinite().all() for each in found)
    assert any(each is not None and each.any() for each in found)


@pytest.mark.parametrize("which", range(5), ids=LABELS)
def test_gradients_add_up(which: int) -> None:
    balance, model, own = balances()[which], network().double(), heads().double()
    parts = []
    for seed in range(2):
        x, y = batch(seed=seed)
        parts.append(step(balance, model, own, {m: each.double() for m, each in x.items()}, y))
        if not seed:
            kept = parts[0]
            model.zero_grad()
            own.zero_grad()
    learned = [*model.parameters(), *own.parameters()]
    for p, each in zip(learned, kept, strict=True):
        p.grad = each if each is None else each.clone()
    x, y = batch(seed=1)
    found = step(balance, model, own, {m: each.double() for m, each in x.items()}, y)
    for each, first, second in zip(found, *parts, strict=True):
        if each is not None and first is not None and second is not None:
            torch.testing.assert_close(each, first + second)
    assert any(each is not None for each in found)


@pytest.mark.parametrize("which", [0, 1, 3, 4], ids=[LABELS[i] for i in (0, 1, 3, 4)])
def test_targets_can_be_numbers(which: int) -> None:
    balance, model, own = balances()[which], network().double(), heads().double()
    x, _ = batch()
    y = torch.randn(SAMPLES, CLASSES, dtype=torch.float64)
    found = step(balance, model, own, {m: each.double() for m, each in x.items()}, y, F.mse_loss)
    assert all(each is not None and each.isfinite().all() for each in found[:-6])


def test_they_are_made_by_name() -> None:
    assert list(BALANCES) == LABELS
    assert all(name in LABELS for name in BALANCES)
    assert make({"balance": "gradient-modulation", "alpha": 0.3}) == GradientModulation(0.3)
    blended = GradientBlending({"a": 0.25, "joint": 0.75})
    assert make(json.loads(json.dumps(blended.settings()))) == blended
    assert MMPareto().settings() == {"balance": "mmpareto", "gamma": 1.5}
    teachers = UniModalTeachers(3.0, {"a": nn.Linear(2, 2)})
    assert teachers.settings() == {"balance": "uni-modal-teachers", "weight": 3.0}
    for each in balances():
        assert each.needs <= set(each.__dataclass_fields__)
    assert replace(UniModalTeachers(), teachers={}).teachers == {}


# Rules --------------------------------------------------------------------------------------------

BLOCKS = [*(f"{part}.{m}" for m in NAMES for part in ("encoders", "fusion.project")), "head"]


def attached(rule: bp.Rule, *blocks: str) -> tuple[MultimodalNetwork, Any]:
    model = network().double()
    return model, bp.attach(model, rule, list(blocks) or None)


DIRECT = [
    bp.DirectFeedbackAlignment(),
    bp.DirectRandomTargetProjection(),
    bp.LocalLoss(),
]


@pytest.mark.parametrize("rule", DIRECT, ids=lambda rule: rule.name)
def test_modulation_scales_what_a_rule_made(rule: bp.Rule) -> None:
    x, y = batch()
    x = {m: each.double() for m, each in x.items()}
    model, _ = attached(rule, *BLOCKS)
    expected = step(Joint(), model, nn.ModuleDict(), x, y)
    twice = step(Joint(), model, nn.ModuleDict(), x, y)
    same(twice, [2 * each for each in present(expected)])
    model, _ = attached(rule, *BLOCKS)
    steps = GradientModulation(noise=0).begin(model, nn.ModuleDict(), F.cross_entropy)
    steps.differentiate(x, y)
    found = gradients(model)
    factors = {}
    for (name, _), each, other in zip(model.named_parameters(), found, expected, strict=True):
        owner = next((m for m in NAMES if f".{m}." in name), "the rest")
        factor = factors.setdefault(owner, (each.norm() / other.norm()).item())
        torch.testing.assert_close(each, factor * other)
    assert factors.pop("the rest") == pytest.approx(1)
    assert min(factors.values()) < 0.9
    steps.differentiate(x, y)  # gradients that are there already do not mislead the rule
    same(gradients(model), [2 * each for each in present(found)])


def test_modulation_under_a_rule_that_runs_the_model() -> None:
    x, y = batch()
    x = {m: each.double() for m, each in x.items()}
    model, _ = attached(bp.ForwardGradient())
    expected = step(Joint(), model, nn.ModuleDict(), x, y)
    model, _ = attached(bp.ForwardGradient())
    found = step(GradientModulation(noise=0), model, nn.ModuleDict(), x, y)
    exact = network().double()
    without = step(Joint(), exact, nn.ModuleDict(), x, y)
    exact.zero_grad()
    modulated = step(GradientModulation(noise=0), exact, nn.ModuleDict(), x, y)
    for each, other, plainly, held in zip(found, expected, without, modulated, strict=True):
        factor = held.norm() / plainly.norm()  # the same weights, so the same scores
        torch.testing.assert_close(each, factor * other)


def test_methods_with_losses_of_modalities_follow_feedback_weights() -> None:
    x, y = batch()
    x = {m: each.double() for m, each in x.items()}

    def found(balance: Balance) -> list[Tensor]:
        model, _ = attached(bp.FeedbackAlignment())
        step(balance, model, heads().double(), x, y)
        own = [(model.encoders[m], model.fusion.project[m]) for m in NAMES]
        return present([each for pair in own for each in gradients(*pair)])

    exact = step(Joint(), network().double(), nn.ModuleDict(), x, y)[0]
    joint = found(GradientBlending(dict.fromkeys(NAMES, 0.0) | {"joint": 1.0}))
    alone = found(GradientBlending(dict.fromkeys(NAMES, 1.0) | {"joint": 0.0}))
    both = found(GradientBlending(dict.fromkeys((*NAMES, "joint"), 2.0)))
    same(both, [2 * (g + u) for g, u in zip(joint, alone, strict=True)])
    assert not torch.equal(joint[0], exact)
    pareto = found(MMPareto())
    for m in range(len(NAMES)):  # the weights and biases of an encoder and a projection
        four = slice(4 * m, 4 * m + 4)
        g, u, h = (torch.cat([p.flatten() for p in of[four]]) for of in (joint, alone, pareto))
        torch.testing.assert_close(h, 1.5 * common(g, u))


@pytest.mark.parametrize("which", [1, 3, 4], ids=[LABELS[i] for i in (1, 3, 4)])
def test_rules_that_end_the_graph_carry_no_loss_of_a_modality(which: int) -> None:
    x, y = batch()
    x = {m: each.double() for m, each in x.items()}
    balance = balances()[which]
    model, _ = attached(bp.DirectFeedbackAlignment(), *BLOCKS)
    steps = balance.begin(model, heads().double(), F.cross_entropy)
    with pytest.raises(UserError, match=f"{balance.name} adds losses.*DirectFeedbackAlignment"):
        steps.differentiate(x, y)
    assert not any(p.grad is not None for p in model.parameters())
    with bp.exact_gradients(model):
        steps.differentiate(x, y)
    found = gradients(model)
    same(found, step(balance, network().double(), heads().double(), x, y)[: len(found)])


def test_modulation_comes_too_late_under_a_schedule() -> None:
    model, handle = attached(bp.LocalLoss(), *BLOCKS)
    handle.follow(bp.Immediate(torch.optim.SGD([*model.parameters(), *handle.parameters()], 0.1)))
    x, y = batch()
    with pytest.raises(UserError, match="schedule Immediate"):
        step(GradientModulation(), model, nn.ModuleDict(), x, y)


# What is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "loss"),
    [
        (torch.randn(SAMPLES, CLASSES), F.mse_loss),
        (torch.zeros(SAMPLES, CLASSES), F.cross_entropy),
        (torch.ones(SAMPLES, CLASSES, dtype=torch.bool), F.mse_loss),
    ],
)
def test_modulation_needs_classes(y: Tensor, loss: Any) -> None:
    model, (x, _) = network(), batch()
    with pytest.raises(UserError, match="targets class numbers"):
        step(GradientModulation(), model, nn.ModuleDict(), x, y, loss)
    assert not any(p.grad is not None for p in model.parameters())


def test_modulation_needs_two_modalities() -> None:
    with pytest.raises(UserError, match="only 'sound'"):
        GradientModulation().begin(network(("sound",)), heads(), F.cross_entropy)
    model, (x, y) = network(), batch()
    with pytest.raises(UserError, match="this batch has only sight"):
        step(GradientModulation(), model, nn.ModuleDict(), {"sight": x["sight"]}, y)


def test_sparse_gradients() -> None:
    model, x, y = mixed()
    words: Any = model.encoders["words"]
    words.embed.sparse = True
    step(GradientModulation(noise=0), model, nn.ModuleDict(), x, y)
    model.zero_grad()
    with pytest.raises(UserError, match="sparse"):
        step(GradientModulation(), model, nn.ModuleDict(), x, y)
    with pytest.raises(UserError, match="sparse=False"):
        step(MMPareto(), model, nn.ModuleDict({m: nn.Linear(6, CLASSES) for m in x}), x, y)


def test_features_must_be_seen() -> None:
    model, (x, y) = network(), batch()
    model.forward = lambda **x: x["sight"][:, :CLASSES] * model.head.bias  # as compiled code may be
    assert step(Joint(), model, nn.ModuleDict(), x, y)[-1] is not None
    with pytest.raises(UserError, match="not compiled"):
        step(MMPareto(), model, heads(), x, y)


@pytest.mark.parametrize("balance", [GradientModulation(), MMPareto()], ids=lambda each: each.name)
def test_parameters_belong_to_one_modality(balance: Balance) -> None:
    model = network(("sound", "sight"))
    model.encoders["sight"] = model.encoders["sound"]
    with pytest.raises(UserError, match="'sight' shares parameters with sound"):
        balance.begin(model, heads(), F.cross_entropy)
    model = network()
    first: Any = model.encoders["sound"]
    model.head = first[0]
    with pytest.raises(UserError, match="the fusion or the head"):
        balance.begin(model, heads(), F.cross_entropy)


@pytest.mark.parametrize(
    ("balance", "says"),
    [
        (GradientBlending(), "blending_weights"),
        (GradientBlending({"sound": 1.0, "joint": 1.0}), "must be of sound, sight, touch"),
        (UniModalTeachers(), "no teachers"),
        (UniModalTeachers(1.0, {"sound": nn.Linear(3, 4)}), "must be of sound, sight, touch"),
    ],
)
def test_what_must_be_made_before(balance: Balance, says: str) -> None:
    with pytest.raises(UserError, match=says):
        balance.begin(network(), heads(), F.cross_entropy)


@pytest.mark.parametrize("which", [1, 3])
def test_each_modality_needs_a_head(which: int) -> None:
    assert balances()[which].begin(network(), heads(), F.cross_entropy).modules
    with pytest.raises(UserError, match="no head for 'touch'"):
        balances()[which].begin(network(), heads(NAMES[:2]), F.cross_entropy)


@pytest.mark.parametrize(
    "make_one",
    [
        lambda: GradientModulation(alpha=0),
        lambda: GradientModulation(noise=-1),
        lambda: MMPareto(gamma=0),
        lambda: UniModalTeachers(weight=math.nan),
        lambda: GradientBlending({"a": -1.0}),
        lambda: GradientBlending({"a": math.nan}),
        lambda: GradientBlending({"a": 0.0}),
    ],
)
def test_settings_have_limits(make_one: Callable[[], Balance]) -> None:
    with pytest.raises(UserError):
        make_one()
