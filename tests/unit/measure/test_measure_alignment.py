import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import beyondprop as bp
from beyondprop.measure import alignment, angle_degrees, block_alignments
from beyondprop.measure.alignment import cosine
from beyondprop.rules import LayerRule

Batch = tuple[Tensor, Tensor]


class Negated(LayerRule):
    """Sends the error back through every weight with its sign turned."""

    name = "negated"

    def feedback(self, weight: Tensor, stream: int) -> Tensor:  # noqa: ARG002
        return -weight


def test_backprop_is_aligned_with_itself(net: nn.Sequential, batch: Batch) -> None:
    """Exactly so only if both passes see the same dropout masks."""
    found = alignment(bp.attach(net, bp.Backprop()), *batch, F.cross_entropy)
    assert found == {name: pytest.approx(1.0, abs=1e-12) for name in ("0", "4", "6")}


def test_a_negated_update_is_opposed(net: nn.Sequential, batch: Batch) -> None:
    """The sign turns once for each layer that the error has come through."""
    found = alignment(bp.attach(net, Negated()), *batch, F.cross_entropy)
    assert found == {"0": pytest.approx(1.0), "4": pytest.approx(-1.0), "6": pytest.approx(1.0)}


def test_it_is_the_angle_between_what_backward_leaves_and_the_true_gradient(
    net: nn.Sequential, batch: Batch
) -> None:
    net.eval()
    plain = copy.deepcopy(net)
    handle = bp.attach(net, bp.DirectFeedbackAlignment())
    found = alignment(handle, *batch, F.cross_entropy)
    for model in (net, plain):
        F.cross_entropy(model(batch[0]), batch[1]).backward()
    for block in handle.blocks:
        vectors = [
            torch.cat([model.get_parameter(n).grad.flatten() for n, _ in block.parameters()])
            for model in (net, plain)
        ]
        expected = F.cosine_similarity(*vectors, dim=0).item()
        assert found[block.name] == pytest.approx(expected, abs=1e-6)
    assert abs(found["0"]) < 0.9  # random feedback is not yet aligned


def test_drtp_gets_its_targets(net: nn.Sequential, batch: Batch) -> None:
    found = alignment(bp.attach(net, bp.DirectRandomTargetProjection()), *batch, F.cross_entropy)
    assert all(isinstance(value, float) for value in found.values())


def test_untaught_blocks_have_no_alignment(net: nn.Sequential, batch: Batch) -> None:
    found = alignment(bp.attach(net, bp.Frozen()), *batch, F.cross_entropy)
    assert found == {"0": None, "4": None, "6": pytest.approx(1.0)}
    net[6].requires_grad_(False)
    assert set(alignment(bp.attachment_of(net), *batch, F.cross_entropy).values()) == {None}


def test_a_gradient_of_zero_has_no_direction(net: nn.Sequential, batch: Batch) -> None:
    with torch.no_grad():
        net[6].weight.zero_()
    found = alignment(bp.attach(net, bp.DirectFeedbackAlignment()), *batch, F.cross_entropy)
    assert found == {"0": None, "4": None, "6": pytest.approx(1.0)}


def test_a_gradient_that_is_not_finite_has_no_direction(net: nn.Sequential, batch: Batch) -> None:
    handle = bp.attach(net, bp.Backprop())
    found = alignment(handle, *batch, lambda o, t: F.cross_entropy(o, t) * math.nan)
    assert set(found.values()) == {None}


def test_cosine_takes_all_tensors_as_one_vector() -> None:
    a = [torch.tensor([[3.0, 0.0]]), torch.tensor([4.0]), None]
    b = [torch.tensor([[1.0, 0.0]]), None, torch.tensor([2.0])]
    assert cosine(a, b) == pytest.approx(3 / (5 * math.sqrt(5)))
    assert cosine(a, [-x if x is not None else None for x in a]) == -1.0
    sparse = torch.tensor([[3.0, 0.0]]).to_sparse()
    assert cosine([sparse, *a[1:]], b) == cosine(a, b)


@pytest.mark.parametrize(("value", "angle"), [(1.0, 0), (0.0, 90), (-1.0, 180), (0.5, 60)])
def test_angle(value: float, angle: float) -> None:
    assert angle_degrees(value) == pytest.approx(angle)
    assert angle_degrees(None) is None


def chain(scale: float, dtype: torch.dtype) -> nn.Sequential:
    """Two layers; the first one's true gradient is as small as the second one's weights."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).to(dtype)
    with torch.no_grad():
        model[2].weight.mul_(scale)
    return model


@pytest.mark.parametrize(
    ("dtype", "below", "above"),
    [(torch.float64, 1e-18, 1e-9), (torch.float32, 1e-8, 1e-4), (torch.bfloat16, 1e-2, 1.0)],
)
def test_a_gradient_lost_in_rounding_has_no_direction(
    dtype: torch.dtype, below: float, above: float, batch: Batch
) -> None:
    inputs, targets = batch[0].to(dtype), batch[1]
    for scale, void in ((below, True), (above, False)):
        handle = bp.attach(chain(scale, dtype), bp.DirectFeedbackAlignment())
        found = block_alignments(handle, inputs, targets, F.cross_entropy)
        assert (found["0"].cosine is None) == void
        assert found["0"].void.startswith("void: the true gradient's norm of") == void
        assert found["2"].cosine == pytest.approx(1.0, abs=0.01)
        assert 0 < found["0"].gradient_norm < found["2"].gradient_norm


def test_the_norm_is_that_of_the_true_gradient(net: nn.Sequential, batch: Batch) -> None:
    net.eval()
    plain = copy.deepcopy(net)
    handle = bp.attach(net, bp.DirectFeedbackAlignment())
    found = block_alignments(handle, *batch, F.cross_entropy)
    F.cross_entropy(plain(batch[0]), batch[1]).backward()
    for block in handle.blocks:
        gradients = [plain.get_parameter(name).grad.flatten() for name, _ in block.parameters()]
        expected = torch.cat(gradients).norm().item()
        assert found[block.name].gradient_norm == pytest.approx(expected, rel=1e-5)


def test_the_reason_of_a_void_is_told(net: nn.Sequential, batch: Batch) -> None:
    frozen = block_alignments(bp.attach(net, bp.Frozen()), *batch, F.cross_entropy)
    assert [each.void.partition(":")[0] for each in frozen.values()] == ["not taught"] * 2 + [""]
    handle = bp.attachment_of(net)
    broken = block_alignments(handle, *batch, lambda o, t: F.cross_entropy(o, t) * math.nan)
    assert broken["6"].void == "void: the update or the true gradient is not finite"
