"""Networks of several kinds of input: what is missing has no part, whatever joins the others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import beyondprop as bp
from beyondprop.errors import UserError
from beyondprop.modalities import (
    Attention,
    Concatenation,
    CrossAttention,
    Fusion,
    Gating,
    LowRankTensor,
    MultimodalNetwork,
)

KINDS: list[type[Fusion]] = [Attention, Concatenation, CrossAttention, Gating, LowRankTensor]
TRUSTED = [Attention, CrossAttention, Gating]
NAMES = ("table", "image", "words")


class Pair(nn.Module):
    """An encoder of two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 5)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        out: Tensor = self.linear(x.sum(1) / lengths[:, None])
        return out


def network(kind: type[Fusion] = Attention, **given: Any) -> MultimodalNetwork:
    torch.manual_seed(0)
    encoders = {
        "table": nn.Sequential(nn.Linear(3, 8), nn.ReLU()),
        "image": nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten()),
        "words": Pair(),
    }
    fusion: Any = kind({"table": 8, "image": 18, "words": 5}, 6)
    return MultimodalNetwork(encoders, fusion, nn.Linear(fusion.features, 4), **given)


def inputs(count: int = 7, seed: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "table": torch.randn(count, 3, generator=generator),
        "image": torch.randn(count, 1, 5, 5, generator=generator),
        "words": (torch.randn(count, 6, 4, generator=generator), torch.full((count,), 6)),
    }


def mask(rows: list[list[bool]]) -> Tensor:
    return torch.tensor(rows)


masks = st.lists(
    st.lists(st.booleans(), min_size=3, max_size=3).filter(any), min_size=2, max_size=6
).map(mask)


@pytest.mark.parametrize("kind", KINDS)
@given(present=masks, seed=st.integers(0, 99))
def test_what_is_missing_has_no_part(kind: type[Fusion], present: Tensor, seed: int) -> None:
    model, x = network(kind), inputs(len(present), seed)
    spoiled = inputs(len(present), seed + 1)
    for place, name in enumerate(NAMES):
        value = x[name][0] if name == "words" else x[name]
        other = spoiled[name][0] if name == "words" else spoiled[name]
        value[~present[:, place]] = torch.nan
        other[present[:, place]] = value[present[:, place]]
    found = model(**x, present=present)
    assert torch.equal(found, model(**spoiled, present=present))
    found.sum().backward()
    assert all(each.grad is None or each.grad.isfinite().all() for each in model.parameters())
    if kind in TRUSTED:
        trust = model.trust(**x, present=present)
        assert (trust[~present] == 0).all()
        torch.testing.assert_close(trust.sum(1), torch.ones(len(present)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_modality_that_is_not_given_is_missing_for_all(kind: type[Fusion]) -> None:
    model, x = network(kind).eval(), inputs()
    present = torch.tensor([True, False, True]).expand(7, 3)
    expected = model(**x, present=present)
    del x["image"]
    torch.testing.assert_close(model(**x), expected)
    torch.testing.assert_close(model(**x, image=None), expected)
    if kind in TRUSTED:
        assert (model.trust(**x)[:, 1] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_samples_do_not_see_one_another(kind: type[Fusion]) -> None:
    model, x = network(kind).eval(), inputs()
    whole = model(**x)
    one = {"table": x["table"][2:3], "image": x["image"][2:3]}
    one["words"] = tuple(each[2:3] for each in x["words"])
    torch.testing.assert_close(model(**one), whole[2:3])


def test_attention_is_that_of_the_paper() -> None:
    model, x = network().double(), inputs()
    double = {"table": x["table"].double(), "image": x["image"].double()}
    double["words"] = (x["words"][0].double(), x["words"][1])
    fusion: Any = model.fusion
    hidden, _ = model.encoded(double)
    z = [fusion.project[name](hidden[name]) for name in NAMES]
    expected, trust = [], []
    for row in range(7):
        whole = fusion.mix.weight @ torch.cat([each[row] for each in z]) + fusion.mix.bias
        scores = torch.stack([fusion.score.weight[m] @ torch.tanh(whole) for m in range(3)])
        alpha = scores.exp() / scores.exp().sum()
        trust.append(alpha)
        expected.append(torch.cat([alpha[m] * z[m][row] for m in range(3)]))
    torch.testing.assert_close(model.trust(**double), torch.stack(trust), rtol=0, atol=1e-14)
    torch.testing.assert_close(model(**double), model.head(torch.stack(expected)))


def test_a_low_rank_tensor_is_the_whole_one() -> None:
    torch.manual_seed(0)
    fusion = LowRankTensor({"a": 2, "b": 3}, 2, rank=3).double()
    z = torch.randn(5, 2, 2, dtype=torch.float64)
    ones = torch.ones(5, 1, dtype=torch.float64)
    a, b = (torch.cat([z[:, m], ones], 1) for m in range(2))  # (batch, width + 1)
    factors = [
        torch.cat([each.weight, each.bias[:, None]], 1).unflatten(0, (3, 2))
        for each in fusion.factors
    ]  # (rank, width, width + 1)
    rank = fusion.combine.weight[0]
    tensor = torch.einsum("r,row,rov->owv", rank, *factors)
    expected = torch.einsum("owv,bw,bv->bo", tensor, a, b) + fusion.bias
    torch.testing.assert_close(fusion.joined(z, torch.ones(5, 2).bool()), expected)


def test_gates_are_those_of_the_paper() -> None:
    torch.manual_seed(0)
    fusion = Gating({"a": 2, "b": 3}, 2).double()
    z = torch.randn(5, 2, 2, dtype=torch.float64)
    gates = torch.sigmoid(
        torch.cat([z[:, 0], z[:, 1]], 1) @ fusion.gate.weight.T + fusion.gate.bias
    )
    expected = gates[:, :2] * torch.tanh(z[:, 0]) + gates[:, 2:] * torch.tanh(z[:, 1])
    torch.testing.assert_close(fusion.joined(z, torch.ones(5, 2).bool()), expected)


def test_in_training_modalities_are_dropped_and_one_is_left() -> None:
    model, x = network(dropout=0.7), inputs(500)
    present = torch.rand(500, 3, generator=torch.Generator().manual_seed(3)) < 0.6
    present[:, 0] |= ~present.any(1)
    torch.manual_seed(0)
    _, seen = model.encoded(x, present)
    assert not (seen & ~present).any()
    assert seen.any(1).all()
    several = present.sum(1) == 3
    # All three are dropped in .7³ of draws, where one is kept.
    assert seen[several].float().mean().item() == pytest.approx(0.3 + 0.343 / 3, abs=0.05)
    assert torch.equal(model.eval().encoded(x, present)[1], present)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"sound": torch.ones(7, 3)}, "there is no modality 'sound': the network has table, image"),
        ({"present": torch.ones(7, 2).bool()}, r"'present' must be \(7, 3\), one row per sample"),
        ({"present": mask([[False] * 3] * 7)}, "sample 0 of the batch has no modality: leave it"),
        ({"table": torch.ones(6, 3)}, "different numbers of samples: table 6, image 7, words 7"),
        ({"table": None, "image": None, "words": None}, "no modality is given: give one of table"),
    ],
)
def test_what_makes_no_sense_is_told(given: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why):
        network()(**inputs() | given)


def test_networks_that_make_no_sense_are_refused() -> None:
    a, b = nn.Linear(2, 3), nn.Linear(2, 3)
    fusion = Concatenation({"a": 3, "b": 3}, 4)
    with pytest.raises(UserError, match="the encoders are b, a, but the fusion joins a, b: name"):
        MultimodalNetwork({"b": b, "a": a}, fusion, nn.Linear(8, 2))
    with pytest.raises(UserError, match="can't be named 'present'"):
        MultimodalNetwork({"present": a}, fusion, nn.Linear(8, 2))
    with pytest.raises(UserError, match="dropout must be from 0 to less than 1, not 1"):
        MultimodalNetwork({"a": a, "b": b}, fusion, nn.Linear(8, 2), dropout=1)
    with pytest.raises(UserError, match="needs widths above 0"):
        Attention({}, 3)
    model = MultimodalNetwork({"a": a, "b": b}, fusion, nn.Linear(8, 2))
    with pytest.raises(UserError, match="has no weight for each modality: use Attention"):
        model.trust(a=torch.ones(1, 2), b=torch.ones(1, 2))
    wrong = MultimodalNetwork({"a": nn.Linear(2, 4), "b": b}, fusion, nn.Linear(8, 2))
    with pytest.raises(UserError, match=r"encoder of 'a' must return \(1, 3\), a row of features"):
        wrong(a=torch.ones(1, 2), b=torch.ones(1, 2))


RULES = ["backprop", "fa", "dfa", "usf", "kp", "drtp", "dgl", "frozen"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", RULES)
def test_rules_teach_the_whole(kind: type[Fusion], name: str) -> None:
    model, x, y = network(kind), inputs(), torch.arange(7) % 4
    blocks = ["encoders.*", "fusion", "head"]
    handle = bp.attach(model, bp.rules.make(name), blocks=blocks)
    present = torch.ones(7, 3).bool()
    present[:3, 1] = False
    with handle.targets(y):
        loss = nn.functional.cross_entropy(model(**x, present=present), y)
    loss.backward()
    learned = {key for key, each in model.named_parameters() if each.grad is not None}
    assert any(key.startswith("head") for key in learned)
    if name != "frozen":
        assert any(key.startswith("encoders.image") for key in learned)
        assert any(key.startswith("fusion") for key in learned)
    assert all(each.grad is None or each.grad.isfinite().all() for each in model.parameters())
    handle.remove()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        *((each, f"a modality can't be named '{each}', which") for each in ("keys", "items")),
        *((each, f"a modality can't be named '{each}', which") for each in ("pop", "self", "type")),
        ("a.b", "a modality can't be named 'a.b': choose a text without dots"),
        ("", "a modality can't be named '': choose a text without dots"),
        (3, "a modality can't be named 3: choose a text without dots"),
    ],
)
def test_a_name_that_modules_cannot_have_is_told(name: Any, why: str) -> None:
    with pytest.raises(UserError, match=why):
        Attention({name: 3, "b": 3}, 4)


@pytest.mark.parametrize("given", [{}, {"present": torch.zeros(0, 3, dtype=torch.bool)}])
def test_a_batch_without_samples_is_told(given: dict[str, Tensor]) -> None:
    with pytest.raises(UserError, match="the batch has no sample: leave it out"):
        network()(table=torch.zeros(0, 3), **given)


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_may_be_mappings_and_one_sample_alone_may_have_them(kind: type[Fusion]) -> None:
    model, whole = network(kind), inputs()
    frames, lengths = whole["words"]
    named = whole | {"words": {"x": frames, "lengths": lengths}}
    torch.testing.assert_close(model(**named), model(**whole))
    present = torch.ones(7, 3, dtype=torch.bool)
    present[1:, 2] = False
    torch.testing.assert_close(model(present, **named)[1:], model(**whole | {"words": None})[1:])
    present[0, 2] = False
    torch.testing.assert_close(model(present, **named), model(**whole | {"words": None}))
