"""Fixed feedback in a checkpoint: the seed is checked, and light goes on where it was."""

import copy
import io
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import nn

import beyondprop as bp
from beyondprop.measure import alignment
from beyondprop.optics import (
    Calibrated,
    Camera,
    PhotonicProjection,
    ideal,
    lighton_opu,
)
from beyondprop.projections import Hadamard, Redrawn, Sketched

X, Y = torch.randn(9, 8, generator=torch.Generator().manual_seed(1)), torch.arange(9) % 4


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 4))


def attached(rule):
    model = net()
    return model, bp.attach(model, rule)


def train(model, steps):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(X), Y).backward()
        optimizer.step()
    return model.state_dict()


RULES = [
    bp.DirectFeedbackAlignment,
    bp.FeedbackAlignment,
    bp.DirectRandomTargetProjection,
]
LEARNED = [bp.KolenPollack, bp.DirectKolenPollack, bp.WeightMirror, bp.ErrorBroadcastDecorrelation]


@pytest.mark.parametrize("rule", RULES)
def test_another_seed_is_refused_in_a_sentence_that_names_the_right_one(rule):
    saved = attached(rule(bp.Dense(seed=3)))[1].state_dict()
    handle = attached(rule(bp.Dense(seed=4)))[1]
    before = copy.deepcopy(handle.state_dict())
    with pytest.raises(bp.UserError, match="drawn from seed 3, but here it is drawn from seed 4"):
        handle.load_state_dict(saved)
    torch.testing.assert_close(handle.state_dict(), before)
    attached(rule(bp.Dense(seed=3)))[1].load_state_dict(saved)


@pytest.mark.parametrize(
    "other",
    [
        Hadamard(3),
        bp.Dense(3),
        Sketched(3),
        PhotonicProjection(3),
        replace(PhotonicProjection(3), shared=False),
    ],
)
def test_another_projection_is_refused(other):
    saved = attached(bp.DirectFeedbackAlignment(bp.Dense(3, shared=True)))[1].state_dict()
    handle = attached(bp.DirectFeedbackAlignment(other))[1]
    with pytest.raises(bp.UserError, match="saved with different feedback to block '0'") as caught:
        handle.load_state_dict(saved)
    assert "\n" not in str(caught.value)


def test_a_photonic_device_with_another_camera_is_another_projection():
    device = replace(ideal(), camera=Camera(photons=5.0, shot_noise=True))
    kinds = [PhotonicProjection(device=d) for d in (ideal(), device)]
    handles = [attached(bp.DirectFeedbackAlignment(kind))[1] for kind in kinds]
    with pytest.raises(bp.UserError, match="attach the rule with the projection") as caught:
        handles[0].load_state_dict(handles[1].state_dict())
    assert "device.camera.photons 5.0 there, 10000.0 here" in str(caught.value)
    assert "device.camera.bits" not in str(caught.value)


@pytest.mark.parametrize(
    ("saved", "here", "said"),
    [
        (Calibrated(PhotonicProjection(1)), Calibrated(PhotonicProjection(2)), "drawn from seed 1"),
        (Sketched(inner=bp.Dense(5)), Sketched(inner=bp.Dense(6)), "drawn from seed 5"),
        (PhotonicProjection(1), Calibrated(PhotonicProjection(1)), "name photonic there"),
        (Calibrated(repeats=2), Calibrated(repeats=3), "repeats 2 there, 3 here"),
        (bp.Dense(1), Calibrated(PhotonicProjection(1)), "name dense there, calibrated here"),
    ],
)
def test_projections_of_projections_are_compared_too(saved, here, said):
    state = attached(bp.FeedbackAlignment(saved))[1].state_dict()
    with pytest.raises(bp.UserError, match=said):
        attached(bp.FeedbackAlignment(here))[1].load_state_dict(state)


@pytest.mark.parametrize("rule", [*LEARNED, bp.LocalLoss])
def test_learned_feedback_may_have_begun_otherwise(rule):
    """The state holds what it has become."""
    model, handle = attached(rule(projection=Redrawn(3)))
    with handle.targets(Y):
        F.cross_entropy(model(X), Y).backward()
    other = attached(rule(projection=Redrawn(4)))[1]
    other.load_state_dict(handle.state_dict())
    torch.testing.assert_close(other.state_dict(), handle.state_dict(), rtol=0, atol=0)


def test_of_two_projections_the_one_that_goes_on_drawing_is_compared():
    def rule(projection, noise):
        return bp.LocalForwardGradient(projection=Redrawn(projection), noise=Redrawn(noise))

    state = attached(rule(1, 2))[1].state_dict()
    with pytest.raises(bp.UserError, match="drawn from seed 2, but here it is drawn from seed 3"):
        attached(rule(1, 3))[1].load_state_dict(state)
    attached(rule(3, 2))[1].load_state_dict(state)


def test_feedback_to_other_blocks_is_refused():
    both = {"0": bp.DirectFeedbackAlignment(PhotonicProjection(3))}
    both |= {"2": bp.DirectFeedbackAlignment(bp.Dense(9)), "4": bp.Backprop()}
    model = net()
    state = bp.attach(model, both).state_dict()
    fewer = {**both, "2": bp.Backprop()}
    handle = bp.attach(net(), fewer)
    with pytest.raises(bp.UserError, match="block '2' has fixed feedback not here, but was"):
        handle.load_state_dict(state)
    with pytest.raises(bp.UserError, match="block '2' has fixed feedback here, but was not"):
        bp.attach(net(), both).load_state_dict(handle.state_dict())


def test_a_state_that_was_changed_is_refused():
    handle = attached(bp.DirectFeedbackAlignment())[1]
    state = handle.state_dict()
    for changed in (state["projections"].float(), state["projections"][:-3]):
        with pytest.raises(bp.UserError, match="cannot be read"):
            handle.load_state_dict({"projections": changed})


def test_light_goes_on_where_a_checkpoint_left_it():
    def rule():
        return bp.DirectFeedbackAlignment(PhotonicProjection(seed=2, device=lighton_opu()))

    model, handle = attached(rule())
    middle = {**copy.deepcopy(train(model, 3))}, copy.deepcopy(handle.state_dict())
    ended = copy.deepcopy(train(model, 3))
    again, fresh = attached(rule())
    again.load_state_dict(middle[0])
    fresh.load_state_dict(load(save(middle[1])))
    torch.testing.assert_close(train(again, 3), ended, rtol=0, atol=0)
    unset, _ = attached(rule())
    unset.load_state_dict(middle[0])
    assert not torch.equal(ended["0.weight"], train(unset, 3)["0.weight"])
    assert unset[0].weight.isfinite().all()


def test_a_state_without_shots_sets_light_back():
    optics = PhotonicProjection()
    model, handle = attached(bp.DirectFeedbackAlignment(optics))
    saved = handle.state_dict()
    assert "counters" not in saved
    train(model, 1)
    assert optics.clock.shots == len(X) * optics.device.shots
    handle.load_state_dict(saved)
    assert optics.clock.shots == 0


def test_a_measure_takes_no_shots():
    optics = PhotonicProjection()
    model, handle = attached(bp.DirectFeedbackAlignment(optics))
    train(model, 1)
    shots = optics.clock.shots
    alignment(handle, X, Y, F.cross_entropy)
    assert optics.clock.shots == shots > 0


def test_a_state_is_tensors_that_load_without_pickle():
    handle = attached(bp.DirectFeedbackAlignment())[1]
    buffer = io.BytesIO()
    torch.save(handle.state_dict(), buffer)
    buffer.seek(0)
    handle.load_state_dict(torch.load(buffer, weights_only=True))
