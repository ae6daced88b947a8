"""Networks of clicks, each against its paper's formula written out slowly, and what DFA teaches."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.reference import recommenders as slow
from torch import Tensor, nn

import beyondprop as bp
from beyondprop.models.recommender import (
    AFN,
    AutoInt,
    Cross,
    DeepCross,
    DeepFM,
    FactorisationMachine,
    Interaction,
    Logarithmic,
    pairs,
)

SIZES = (5, 3, 4)
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "deepfm": lambda: DeepFM(SIZES, 6, (8, 7)),
    "dcn": lambda: DeepCross(SIZES, 6, 2, (8, 7)),
    "autoint": lambda: AutoInt(SIZES, 6, 4, 2, 2, (8, 7)),
    "afn": lambda: AFN(SIZES, 6, 5, (8, 7)),
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[request.param]().double()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    values = [torch.randint(size, (16,), generator=generator) for size in SIZES]
    return torch.stack(values, 1), torch.rand(16, generator=generator).double().round()


def rows_of(x: Tensor) -> np.ndarray:
    return (x + torch.tensor([0, 5, 8])).numpy()


def numbers(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: p.detach().numpy() for name, p in module.named_parameters()}


def gradients(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    F.binary_cross_entropy_with_logits(model(x), y).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_factorisation_machine(batch: tuple[Tensor, Tensor]) -> None:
    model = FactorisationMachine(SIZES, 6).double()
    nn.init.normal_(model.first.bias)
    given = numbers(model)
    w, vectors = given["first.weight.table.weight"][:, 0], given["embedding.table.weight"]
    expected = [
        slow.factorisation_machine(given["first.bias"], w, vectors, row)
        for row in rows_of(batch[0])
    ]
    np.testing.assert_allclose(model(batch[0]).detach(), expected, rtol=1e-12)


def test_deep_fm_adds_its_parts(batch: tuple[Tensor, Tensor]) -> None:
    model, x = DeepFM(SIZES, 6, (8,)).double(), batch[0]
    vectors = model.embedding(x)
    deep = model.head(model.deep(vectors.flatten(1)))[:, 0]
    torch.testing.assert_close(model(x), model.first(x) + pairs(vectors) + deep)


def test_cross_layer() -> None:
    layer, x0, x = Cross(6).double(), *torch.randn(2, 4, 6, dtype=torch.float64)
    nn.init.normal_(layer.bias)
    given = numbers(layer)
    expected = [
        slow.cross(a, b, given["weight.weight"][0], given["bias"])
        for a, b in zip(x0.numpy(), x.numpy(), strict=True)
    ]
    np.testing.assert_allclose(layer(x0, x).detach(), expected, rtol=1e-12)


def test_attention_between_fields() -> None:
    layer, x = Interaction(6, 4, 2).double(), torch.randn(3, 5, 6, dtype=torch.float64)
    weights = [getattr(layer, n).weight.detach().numpy() for n in ("query", "key", "value")]
    residual = layer.residual.weight.detach().numpy()
    expected = [slow.interaction(one, *weights, residual, 2) for one in x.numpy()]
    np.testing.assert_allclose(layer(x).detach(), expected, rtol=1e-9, atol=1e-12)


def test_logarithmic_layer_multiplies_powers() -> None:
    layer, x = Logarithmic(3, 5).double(), torch.randn(4, 3, 6, dtype=torch.float64)
    layer.before, layer.after = nn.Identity(), nn.Identity()
    given = numbers(layer)
    expected = [
        slow.logarithmic(one, given["powers.weight"], given["powers.bias"]) for one in x.numpy()
    ]
    np.testing.assert_allclose(layer(x).detach(), expected, rtol=1e-9)


def test_logarithms_of_nothing_are_finite() -> None:
    layer = Logarithmic(3, 5)
    assert layer(torch.zeros(4, 3, 6)).isfinite().all()


def test_a_value_has_a_row_in_its_own_field() -> None:
    model = FactorisationMachine(SIZES, 2)
    with torch.no_grad():
        model.embedding.table.weight.copy_(torch.arange(12.0)[:, None].expand(12, 2))
    found = model.embedding(torch.tensor([[4, 2, 3], [0, 0, 0]]))
    assert found[..., 0].tolist() == [[4, 7, 11], [0, 5, 8]]
    assert "offsets" not in "".join(model.state_dict())


def test_networks_give_a_logit_a_sample(network: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    assert network(batch[0]).shape == (16,)
    found = gradients(network, *batch)
    assert found.keys() == dict(network.named_parameters()).keys()


@pytest.mark.parametrize("alone", [False, True])
def test_deep_and_cross_learns_by_dfa_as_by_hand(batch: tuple[Tensor, Tensor], alone: bool) -> None:
    torch.manual_seed(0)
    model, (x, y) = DeepCross(SIZES, 6, 2, (8, 7)).double(), batch
    rule = bp.DirectFeedbackAlignment()
    blocks = ("embedding", "cross.*", "deep.*", "head") if alone else DeepCross.BLOCKS
    handle = bp.attach(model, rule, blocks, axes="batch features")
    first, last = (["embedding"], "head") if alone else ([], "embedding")
    names = [*first, "cross.0", "cross.1", "deep.0", "deep.1", last]
    assert [block.name for block in handle.blocks] == names
    stream = rule.projection.stream(handle.blocks[0].stream)

    def feedback(width: int) -> np.ndarray:
        return rule.projection.project(torch.eye(1).double(), width, stream)[0].numpy()

    expected = slow.deep_cross(numbers(model), rows_of(x), y.numpy(), 2, 2, feedback, alone)
    found = gradients(model, x, y)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12, err_msg=name)


def directions(table: Tensor, rows: slice) -> int:
    """Return how many directions there are in the gradients of the rows of a field."""
    return int(torch.linalg.matrix_rank(table[rows], rtol=1e-9))


def test_vectors_as_a_block_of_their_own_learn_along_one_direction(
    batch: tuple[Tensor, Tensor],
) -> None:
    torch.manual_seed(0)
    model = DeepCross(SIZES, 6, 2, (8, 7)).double()
    exact = gradients(model, *batch)["embedding.table.weight"]
    assert directions(exact, slice(0, 5)) > 1
    blocks = ("embedding", "cross.*", "deep.*", "head")
    handle = bp.attach(model, bp.DirectFeedbackAlignment(), blocks, axes="batch features")
    found = gradients(model, *batch)["embedding.table.weight"]
    assert [directions(found, part) for part in (slice(0, 5), slice(5, 8), slice(8, 12))] == [1] * 3
    assert torch.linalg.matrix_rank(found, rtol=1e-9) == 3  # another one in each field
    handle.remove()
    bp.attach(model, bp.DirectFeedbackAlignment(), DeepCross.BLOCKS, axes="batch features")
    together = gradients(model, *batch)["embedding.table.weight"]
    assert directions(together, slice(0, 5)) > 1


def test_vectors_of_deep_fm_learn_through_the_machine_and_the_first_hidden_layer(
    batch: tuple[Tensor, Tensor],
) -> None:
    torch.manual_seed(0)
    model, (x, y) = DeepFM(SIZES, 6, (8, 7)).double(), batch
    exact = gradients(model, x, y)
    rule = bp.DirectFeedbackAlignment()
    handle = bp.attach(model, rule, DeepFM.BLOCKS, axes="batch features")
    found = gradients(model, x, y)
    for name in ("first.weight.table.weight", "first.bias", "head.weight"):
        torch.testing.assert_close(found[name], exact[name])  # these touch the output

    stream = rule.projection.stream(handle.blocks[0].stream)
    handle.remove()
    vectors = model.embedding(x)
    logits = model.first(x) + pairs(vectors)
    rest = model.head(model.deep(vectors.flatten(1)).detach())[:, 0]
    error = (torch.sigmoid(logits + rest) - y).detach() / len(y)
    by_machine = torch.autograd.grad(logits, model.embedding.table.weight, error)[0]
    hidden = model.deep[0](model.embedding(x).flatten(1))
    signal = error[:, None] * rule.projection.project(torch.eye(1).double(), 8, stream)
    by_signal = torch.autograd.grad(hidden, model.embedding.table.weight, signal)[0]
    torch.testing.assert_close(found["embedding.table.weight"], by_machine + by_signal)
    assert by_signal.norm() > 0


def test_frozen_vectors_of_deep_fm_learn_through_the_machine_alone(
    batch: tuple[Tensor, Tensor],
) -> None:
    torch.manual_seed(0)
    model, (x, y) = DeepFM(SIZES, 6, (8, 7)).double(), batch
    bp.attach(model, bp.Frozen(), DeepFM.BLOCKS, axes="batch features")
    found = gradients(model, x, y)
    assert found.keys() == {
        *("first.bias", "first.weight.table.weight", "embedding.table.weight", "head.weight")
    }


@pytest.mark.parametrize(
    "rule",
    ["backprop", "fa", "kp", "usf", "dfa", "drtp", "dgl", "frozen"],
)
def test_every_kind_of_rule_teaches_them(
    network: nn.Module, batch: tuple[Tensor, Tensor], rule: str
) -> None:
    x, y = batch
    handle = bp.attach(network, bp.rules.make(rule), type(network).BLOCKS, axes="batch features")
    with handle.targets(y.bool()):
        loss = F.binary_cross_entropy_with_logits(network(x), y)
    loss.backward()
    reached = {n for n, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    assert "head.weight" in reached
    if rule == "frozen":
        assert not any(name.startswith(("deep", "cross", "attention")) for name in reached)
    else:
        assert {"embedding.table.weight", "deep.0.0.weight", "deep.1.0.weight"} <= reached
