"""What the objectives of `LocalLoss` are made of, and what they refuse."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import beyondprop as bp
from beyondprop.core import At, Block, ForwardPass
from beyondprop.projections import Redrawn
from beyondprop.rules.local.auxiliary import AugLocal, PooledConvolution
from beyondprop.rules.local.heads import Head, empty_head
from beyondprop.rules.local.similarity import centred_cosines, closeness, one_hot
from beyondprop.shapes import CHANNELS, FEATURES, TOKENS, Axes, pooled

CLASSES = 4
EXACT = {"rtol": 1e-12, "atol": 1e-12}


@dataclass(frozen=True)
class Passed:
    """What a block hands to an objective, with a head of its own."""

    output: torch.Tensor
    targets: torch.Tensor | None
    state: dict[str, torch.Tensor]
    axes: Axes
    depth: float = 0.0
    inputs: torch.Tensor | None = None
    classes: int = CLASSES

    def at(self):
        """Return the end of the block."""
        block = Block("block", bp.Backprop(), (), nn.Module(), axes=self.axes, depth=self.depth)
        run = ForwardPass(self.inputs, self.targets)
        x = self.output
        return At(block, run, self.state, x.shape, x.dtype, x.device, output=x, axes=self.axes)


def passed(objective, output, targets, depth=0.0, inputs=None, axes=None):
    """Return what a block hands to an objective; more than three axes are those of maps."""
    block = Block("block", bp.Backprop(), (), nn.Linear(1, 1).double())
    state = empty_head(block, objective.parameters(depth))
    axes = axes or (CHANNELS if output.dim() > 3 else TOKENS)
    return Passed(output, targets, state, axes, depth, inputs)


def loss_of(objective, given):
    """Return the objective's value."""
    at = given.at()
    return objective.loss(at, Head(at, Redrawn(0)), given.classes)


def activities(shape=(6, 5)):
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


LABELS = torch.tensor([0, 1, 2, 3, 1, 0])

batches = given(
    rows=st.integers(2, 8),
    width=st.integers(2, 6),
    seed=st.integers(0, 2**16),
)


def drawn(rows, width, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    return x, torch.randint(CLASSES, (rows,), generator=generator)


@settings(max_examples=25, deadline=None)
@batches
def test_similarities_do_not_see_scale_or_offset_of_a_sample(rows, width, seed):
    x, _ = drawn(rows, width, seed)
    scales = torch.linspace(0.5, 3, rows, dtype=torch.float64).unsqueeze(1)
    offsets = torch.linspace(-2, 5, rows, dtype=torch.float64).unsqueeze(1)
    found = centred_cosines(x)
    torch.testing.assert_close(centred_cosines(scales * x + offsets), found, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found, found.t(), **EXACT)
    torch.testing.assert_close(found.diagonal(), torch.ones(rows, dtype=torch.float64), **EXACT)
    assert found.abs().max() < 1 + 1e-12


@settings(max_examples=25, deadline=None)
@batches
def test_similarity_matching_does_not_see_the_order_of_a_batch(rows, width, seed):
    x, y = drawn(rows, width, seed)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    sim = bp.SimilarityMatching()
    one = loss_of(sim, passed(sim, x, y))
    torch.testing.assert_close(loss_of(sim, passed(sim, x[order], y[order])), one, **EXACT)
    assert one >= 0


@settings(max_examples=25, deadline=None)
@given(labels=st.lists(st.integers(0, CLASSES - 1), min_size=2, max_size=8))
def test_similarity_matching_is_zero_where_activities_are_the_classes(labels):
    y = torch.tensor(labels)
    x = one_hot(y, CLASSES).double()
    sim = bp.SimilarityMatching()
    at = passed(sim, x, y)
    loss_of(sim, at)
    with torch.no_grad():
        at.state["similarity.weight"].copy_(torch.eye(CLASSES))
    assert loss_of(sim, at).item() == pytest.approx(0, abs=1e-12)
    if len(set(labels)) > 1:  # it can be otherwise
        other = replace(at, targets=(y + (y == y[0]).long()) % CLASSES)
        same = torch.equal(one_hot(y, CLASSES) @ one_hot(y, CLASSES).t(), pairs_of(other.targets))
        assert (loss_of(sim, other) > 1e-3) != same


def pairs_of(y):
    return one_hot(y, CLASSES) @ one_hot(y, CLASSES).t()


def test_similarity_of_dead_maps_has_a_finite_gradient():
    x = torch.zeros(6, 5, 3, 3, dtype=torch.float64, requires_grad=True)
    sim = bp.SimilarityMatching()
    loss = loss_of(sim, passed(sim, x, LABELS))
    (gradient,) = torch.autograd.grad(loss, x)
    assert loss.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_predsim_is_the_weighted_sum_of_its_parts(beta):
    x = activities()
    mix = bp.PredSim(beta)
    at = passed(mix, x, LABELS)
    expected = (1 - beta) * loss_of(bp.CrossEntropy(), at) + beta * loss_of(
        bp.SimilarityMatching(), at
    )
    torch.testing.assert_close(loss_of(mix, at), expected, **EXACT)
    assert sorted(at.state) == sorted(mix.parameters(0.0))


@pytest.mark.parametrize(("depth", "kept", "told"), [(0.0, 4.0, 1.0), (0.5, 3.0, 2.0), (1, 2, 3)])
def test_infopro_weighs_by_depth(depth, kept, told):
    x, inputs = activities(), torch.randn(6, 3, dtype=torch.float64)
    info = bp.InfoPro((4.0, 2.0), (1.0, 3.0), bp.CrossEntropy())
    at = passed(info, x, LABELS, depth, inputs)
    told_alone = loss_of(replace(info, reconstruction=(0.0, 0.0), prediction=(1.0, 1.0)), at)
    kept_alone = loss_of(replace(info, reconstruction=(1.0, 1.0), prediction=(0.0, 0.0)), at)
    expected = told * told_alone + kept * kept_alone
    torch.testing.assert_close(loss_of(info, at), expected, **EXACT)
    torch.testing.assert_close(told_alone, loss_of(bp.CrossEntropy(), at), **EXACT)


def test_infopro_cannot_reconstruct_words():
    info = bp.InfoPro()
    with pytest.raises(bp.UserError, match="must be a tensor of floats"):
        loss_of(
            info, passed(info, activities(), LABELS, inputs=torch.zeros(6, 3, dtype=torch.int64))
        )


@pytest.mark.parametrize(
    "objective", [bp.CrossEntropy(), bp.SimilarityMatching(), bp.PredSim()], ids=lambda o: o.name
)
@pytest.mark.parametrize("left_out", [-100, -1])
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3, 3)], ids=["rows", "maps"])
def test_a_negative_class_is_as_if_the_sample_were_not_there(objective, left_out, shape):
    x, y = activities(shape), LABELS.clone()
    y[[1, 4]] = left_out
    rest = [0, 2, 3, 5]
    at = passed(objective, x, y)
    loss = loss_of(objective, at)
    (gradient,) = torch.autograd.grad(loss, x)
    alone = loss_of(objective, replace(at, output=x[rest], targets=y[rest]))
    torch.testing.assert_close(loss, alone, **EXACT)
    assert not gradient[[1, 4]].any()
    assert gradient[rest].flatten(1).any(1).all()


def test_tokens_are_classified_one_by_one():
    x = activities((2, 3, 5))
    y = LABELS.view(2, 3)
    for objective in (bp.CrossEntropy(), bp.SimilarityMatching()):
        at = passed(objective, x, y)
        rows = replace(at, output=x.flatten(0, 1), targets=LABELS)
        torch.testing.assert_close(loss_of(objective, at), loss_of(objective, rows), **EXACT)


def test_pixels_are_classified_one_by_one_at_the_targets_size():
    x, y = activities((2, 5, 2, 2)), torch.randint(CLASSES, (2, 4, 4))
    objective = bp.CrossEntropy()
    at = passed(objective, x, y)
    loss = loss_of(objective, at)
    weight, bias = (at.state[f"classifier.{part}"] for part in ("weight", "bias"))
    losses = [
        F.cross_entropy(weight[:, :, 0, 0] @ x[n, :, i // 2, j // 2] + bias, y[n, i, j])
        for n in range(2)
        for i in range(4)
        for j in range(4)
    ]
    torch.testing.assert_close(loss, torch.stack(losses).mean(), **EXACT)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (None, "taught by targets, and there are none"),
        (torch.ones(6), "floats of only 0 and 1, which may be labels, values or classes"),
        (torch.rand(6, 2, 2), r"its targets must have shape \(n,\) or \(n, k\), not \(6, 2, 2\)"),
        (torch.rand(4), "both must begin with the same batch dimension"),
        (torch.tensor([0, 1, 2, 3, 4, 0]), "a target is class 4, but there are 4 classes"),
        (torch.tensor([0, 1]), "both must begin with the same batch dimension"),
        (torch.zeros(6, 2, dtype=torch.int64), "it has no row for each of them"),
    ],
    ids=["none", "unclear", "positions", "few-values", "too-large", "too-few", "rows"],
)
@pytest.mark.parametrize(
    "objective", [bp.CrossEntropy(), bp.SimilarityMatching(), bp.InfoPro()], ids=lambda o: o.name
)
def test_targets_that_cannot_teach(objective, targets, message):
    at = passed(objective, activities(), targets, inputs=torch.randn(6, 3, dtype=torch.float64))
    with pytest.raises(bp.UserError, match=message):
        loss_of(objective, at)


@pytest.mark.parametrize(
    ("shape", "most", "features"),
    [
        ((2, 4, 6, 6), 2048, 144),
        ((2, 4, 6, 6), 36, 36),
        ((2, 4, 6, 6), 35, 16),
        ((2, 4, 6, 6), 3, 4),
        ((2, 4, 8, 2), 36, 24),
        ((2, 4, 3, 3, 3), 40, 32),
        ((2, 300), 5, 300),
    ],
)
def test_pooling_keeps_at_most_so_many_features_but_one_a_map(shape, most, features):
    x = torch.rand(shape)
    assert pooled(x, CHANNELS, most).shape == (2, features)
    if len(shape) > 2 and features == shape[1]:
        torch.testing.assert_close(pooled(x, CHANNELS, most), x.flatten(2).mean(2))


def test_auxiliary_networks_get_shallower_towards_the_output():
    layers = AugLocal(5, 1)
    assert [layers.layers(depth / 4) for depth in range(5)] == [5, 4, 3, 2, 1]
    for depth in (0.0, 0.5, 1.0):
        assert len(layers.parameters(depth)) == 2 * layers.layers(depth)
    assert list(AugLocal(1, 0).parameters(1.0)) == []


@pytest.mark.parametrize(("first", "last"), [(1, 2), (0, 1)])
def test_auxiliary_networks_that_get_deeper_are_refused(first, last):
    with pytest.raises(bp.UserError, match="AugLocal's depth must not rise towards the output"):
        AugLocal(first, last)


def test_depth_counts_the_blocks_that_learn():
    widths = [nn.Linear(4, 4) for _ in range(6)]
    rules = {"1": bp.Frozen(), "0": bp.LocalLoss(), "*": bp.LocalLoss()}
    handle = bp.attach(nn.Sequential(*widths), rules)
    learners = [b for b in handle.blocks if isinstance(b.rule, bp.LocalLoss)]
    assert [block.depth for block in learners] == [0, 1 / 3, 2 / 3, 1]
    alone = bp.attach(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), bp.LocalLoss())
    assert alone.blocks[0].depth == 0


def test_a_sequence_is_pooled_over_its_tokens():
    x = torch.rand(2, 7, 5)
    torch.testing.assert_close(pooled(x, TOKENS, 3), x.mean(1))
    torch.testing.assert_close(pooled(x, FEATURES, 3), x.flatten(1))
    torch.testing.assert_close(pooled(x, CHANNELS, 35), x.flatten(1))
    torch.testing.assert_close(pooled(x, CHANNELS, 5), x.mean(2))


def test_channels_are_no_tokens_where_their_number_is_the_targets():
    """Twelve channels and targets (6, 12) once made a convolution's output tokens."""
    x, y = activities((6, 12, 5)), torch.randint(CLASSES, (6, 12))
    at = passed(bp.CrossEntropy(), x, y, axes=CHANNELS)
    positions = replace(at, targets=torch.randint(CLASSES, (6, 5)))
    objective = bp.CrossEntropy()
    _, logits, _ = objective.predicted(positions.at(), Head(positions.at(), Redrawn(0)), CLASSES)
    assert logits.shape == (6, CLASSES, 5)
    _, logits, _ = objective.predicted(at.at(), Head(at.at(), Redrawn(0)), CLASSES)
    assert logits.shape == (6, CLASSES, 12)  # positions, at the targets' resolution


def test_values_are_taught_by_their_squared_error():
    x, y = activities(), torch.randn(6, 3, dtype=torch.float64)
    at = passed(bp.CrossEntropy(), x, y)
    loss = loss_of(bp.CrossEntropy(), at)
    wanted = F.mse_loss(x @ at.state["classifier.weight"].t() + at.state["classifier.bias"], y)
    torch.testing.assert_close(loss, wanted, **EXACT)


def test_one_value_a_sample_makes_a_read_out_of_one_output():
    at = passed(bp.CrossEntropy(), activities(), torch.randn(6))
    loss_of(bp.CrossEntropy(), at)
    assert at.state["classifier.weight"].shape == (1, 5)


def test_labels_are_taught_by_binary_cross_entropy():
    x, y = activities(), torch.rand(6, 3) > 0.5
    at = passed(bp.CrossEntropy(), x, y)
    loss = loss_of(bp.CrossEntropy(), at)
    logits = x @ at.state["classifier.weight"].t() + at.state["classifier.bias"]
    wanted = F.binary_cross_entropy_with_logits(logits, y.double())
    torch.testing.assert_close(loss, wanted, **EXACT)


@pytest.mark.parametrize("criterion", [bp.Labels(), bp.Values()], ids=lambda c: c.name)
def test_a_criterion_that_is_given_decides_on_floats_of_0_and_1(criterion):
    y = torch.tensor([[0.0, 1.0], [1.0, 0.0]] * 3, dtype=torch.float64)
    objective = bp.CrossEntropy(criterion=criterion)
    at = passed(objective, activities(), y)
    loss = loss_of(objective, at)
    logits = at.output @ at.state["classifier.weight"].t() + at.state["classifier.bias"]
    by_hand = {
        "labels": F.binary_cross_entropy_with_logits(logits, y),
        "values": F.mse_loss(logits, y),
    }
    torch.testing.assert_close(loss, by_hand[criterion.name], **EXACT)


def test_later_batches_are_not_asked_whether_their_floats_are_clear():
    at = passed(bp.CrossEntropy(), activities(), torch.ones(6)).at()
    at.run.number = 2
    bp.CrossEntropy().loss(at, Head(at, Redrawn(0)), 1)


def test_classes_given_as_criterion_refuse_values():
    objective = bp.CrossEntropy(criterion=bp.Classes())
    with pytest.raises(bp.UserError, match="its targets must be class numbers"):
        loss_of(objective, passed(objective, activities(), torch.rand(6)))


@pytest.mark.parametrize(
    "targets", [torch.randn(6), torch.randn(6, 3), torch.eye(6, 4) > 0], ids=["one", "3", "labels"]
)
@pytest.mark.parametrize(
    "objective",
    [bp.PredSim(), bp.InfoPro(), bp.CrossEntropy(AugLocal()), bp.SimilarityMatching()],
    ids=["predsim", "infopro", "auglocal", "sim"],
)
def test_every_objective_lowers_its_loss_for_values_and_labels(objective, targets):
    at = passed(objective, activities(), targets, inputs=torch.randn(6, 3, dtype=torch.float64))
    first = loss_of(objective, at)
    learned = [at.output, *at.state.values()]
    for each, gradient in zip(
        learned, torch.autograd.grad(first, learned, allow_unused=True), strict=True
    ):
        if gradient is not None:
            each.data -= 1e-3 * gradient
    assert loss_of(objective, at) < first


def test_similarities_of_values_are_those_of_their_distances():
    y = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    found = closeness(y)
    variance = y.var(correction=0)
    wanted = [[math.exp(-((a - b) ** 2) / (2 * variance)) for b in (0, 1, 3)] for a in (0, 1, 3)]
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), **EXACT)
    assert torch.equal(closeness(torch.ones(3, 2)), torch.ones(3, 3))  # all alike


@pytest.mark.parametrize("labels", [False, True])
def test_maps_are_pooled_for_what_is_of_whole_samples(labels):
    y = torch.rand(6, 4) > 0.5 if labels else torch.randn(6, 4)
    objective = bp.CrossEntropy(PooledConvolution())
    at = passed(objective, activities((6, 4, 4, 4)), y)
    loss_of(objective, at)
    assert at.state["classifier.weight"].shape == (4, 128)
