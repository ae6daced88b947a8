"""The co-processor as a projection: what holds for every one, and that rules learn by it."""

import copy
import json
import pickle
from dataclasses import replace

import pytest
import torch
from torch import nn

import beyondprop as bp
from beyondprop import tasks
from beyondprop.optics import (
    PROCESSORS,
    Camera,
    OffAxis,
    PhotonicProcessor,
    PhotonicProjection,
    Scattering,
    Ternary,
    UnevenTernary,
    build,
    ideal,
    lighton_opu,
)
from beyondprop.projections import PROJECTIONS

DEVICES = {
    "ideal": ideal(),
    "ternary": replace(ideal(), encoder=Ternary()),
    "uneven": replace(ideal(), encoder=UnevenTernary()),
    "lighton": lighton_opu(),
}
devices = pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
DIRECT = [bp.DirectFeedbackAlignment, bp.DirectRandomTargetProjection, bp.FeedbackAlignment]


@devices
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_shapes_and_dtypes(device, dtype):
    projection = PhotonicProjection(3, device=device)
    for shape in ((10,), (5, 10), (2, 3, 10), (0, 10)):
        found = projection.project(torch.randn(shape, dtype=dtype), 33, 1)
        assert found.shape == (*shape[:-1], 33)
        assert found.dtype is dtype
        assert found.is_contiguous()
    matrix = projection.matrix(10, 33, 1, torch.zeros(1, dtype=dtype))
    assert matrix.shape == (10, 33)
    assert matrix.dtype is dtype
    assert matrix.is_contiguous()


def test_norms_are_kept_on_average():
    x = torch.randn(400, 64)
    for kind in (PhotonicProjection(device=ideal()), bp.Dense()):
        ratio = kind.project(x, 256, 0).square().sum(1) / x.square().sum(1)
        assert abs(ratio.mean() - 1) < 0.03
    matrix = PhotonicProjection().matrix(200, 300, 5, torch.zeros(1))
    assert matrix.std() == pytest.approx(300**-0.5, rel=0.02)
    assert abs(matrix.mean()) < 1e-3


@devices
def test_a_run_is_a_function_of_its_seed(device):
    x = torch.randn(6, 10)
    kind = PhotonicProjection(3, device=device)
    first = [kind.project(x, 40, 0) for _ in range(3)]
    again = PhotonicProjection(3, device=device)
    assert all(torch.equal(again.project(x, 40, 0), found) for found in first)
    assert not torch.equal(PhotonicProjection(4, device=device).project(x, 40, 0), first[0])
    assert torch.equal(first[0], first[1]) == (device != lighton_opu())


def test_noise_is_another_for_every_seed_stream_and_moment():
    x, later = torch.zeros(1), PhotonicProjection(3)
    later.clock.shots = 1
    noises = [(PhotonicProjection(3), 0), (PhotonicProjection(3), 1), (PhotonicProjection(4), 0)]
    drawn = {torch.randn(1, generator=kind.noise(x, s)).item() for kind, s in [*noises, (later, 0)]}
    assert len(drawn) == 4
    again = torch.randn(1, generator=PhotonicProjection(3).noise(x, 0)).item()
    assert again in drawn


def test_a_run_goes_on_where_another_ended():
    device = replace(lighton_opu(), scattering=Scattering(lifetime=300.0))
    x, kind = torch.randn(6, 10), PhotonicProjection(3, device=device)
    whole = [kind.project(x, 40, 0) for _ in range(6)]
    assert kind.clock.shots == 6 * 6 * device.shots
    later = PhotonicProjection(3, device=device)
    later.clock.shots = 3 * 6 * device.shots
    assert all(torch.equal(later.project(x, 40, 0), found) for found in whole[3:])


def test_drift_goes_on_with_the_shots():
    device = replace(ideal(), scattering=Scattering(lifetime=4000.0))
    kind = PhotonicProjection(device=device)
    x, outputs = torch.randn(100, 50), 400
    exact = x @ kind.matrix(50, outputs, 0, x)
    for batch in range(6):
        found = kind.project(x, outputs, 0)
        alike = torch.nn.functional.cosine_similarity(found.flatten(), exact.flatten(), 0)
        assert alike == pytest.approx(device.scattering.correlation(batch * 400), abs=0.03)


@devices
def test_copies_pickles_and_settings(device):
    kind = PhotonicProjection(3, device=device)
    x = torch.randn(2, 512)
    first = kind.project(x, 512, 0)
    assert len(pickle.dumps(kind)) < 1500
    for twin in (copy.deepcopy(kind), pickle.loads(pickle.dumps(kind))):
        assert twin == kind
        assert hash(twin) == hash(kind)
        assert twin.clock.shots == 0
        assert torch.equal(twin.project(x, 512, 0), first)
    found = kind.settings()
    assert json.loads(json.dumps(found)) == found
    assert found["name"] == "photonic"
    assert found["device"] == device.settings()
    again = build(json.loads(json.dumps(found)))
    assert again == kind
    assert torch.equal(again.project(x, 512, 0), first)
    assert kind != PhotonicProjection(3, device=replace(device, camera=Camera(photons=7.0)))


def test_blocks_share_the_medium_or_do_not():
    shared, own = PhotonicProjection(), PhotonicProjection(shared=False)
    assert shared.stream(7) == shared.stream(8) == 0
    assert own.stream(7) == 7
    x = torch.zeros(1)
    narrow, wide = (shared.matrix(10, width, 0, x) * width**0.5 for width in (70, 200))
    torch.testing.assert_close(narrow, wide[:, :70])
    assert not torch.equal(own.matrix(10, 70, 1, x), own.matrix(10, 70, 2, x))


def test_no_gradient_is_lost_in_silence():
    x = torch.randn(3, 10, requires_grad=True)
    with pytest.raises(bp.UserError, match="no gradient passes back"):
        PhotonicProjection().project(x, 20, 0)
    with torch.no_grad():
        assert not PhotonicProjection().project(x, 20, 0).requires_grad


def test_a_preset_is_given_by_its_name():
    assert PhotonicProjection(device="lighton-opu") == PhotonicProjection(device=lighton_opu())
    with pytest.raises(bp.UserError, match=r"such as lighton_opu\(\), or 'ideal' or 'lighton-opu'"):
        PhotonicProjection(device="opu")


def test_a_preset_is_changed_part_by_part():
    preset = lighton_opu()
    changed = PROCESSORS.make({"lighton-opu": {"camera": {"bits": 4}}})
    assert changed == replace(preset, camera=replace(preset.camera, bits=4))
    another = {"lighton-opu": {"camera": {"part": "Camera", "photons": 5}}}
    assert PROCESSORS.make(another) == replace(preset, camera=Camera(photons=5))
    with pytest.raises(bp.UserError, match=r"its camera takes bits: {camera: {bits: VALUE}}"):
        PROCESSORS.make({"lighton-opu": {"bits": 4}})
    with pytest.raises(bp.UserError, match=r"camera of photonic device.* not bit; did you mean"):
        PROCESSORS.make({"lighton-opu": {"camera": {"bit": 4}}})


def test_whole_numbers_would_be_cut_off():
    with pytest.raises(bp.UserError, match=r"use x\.float"):
        PhotonicProjection().project(torch.ones(3, 10, dtype=torch.long), 20, 0)


def test_autocast_does_not_coarsen_the_light():
    x, kind = torch.randn(4, 10), PhotonicProjection(device=ideal())
    plain = kind.project(x, 40, 0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(kind.project(x, 40, 0), plain)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device here")
@devices
def test_on_a_gpu_it_is_the_same_medium(device):
    x = torch.randn(64, 30, dtype=torch.float64)
    there = PhotonicProjection(3, device=device).project(x.cuda(), 200, 1).cpu()
    here = PhotonicProjection(3, device=device).project(x, 200, 1)
    if device == lighton_opu():  # whose noise is another there
        assert torch.nn.functional.cosine_similarity(there.flatten(), here.flatten(), 0) > 0.9
    else:
        torch.testing.assert_close(there, here)


def trained(rule, steps=200):
    """Return the losses on the embedded digits before and after some steps."""
    torch.manual_seed(1)
    data = tasks.find("digits-mlp").load(None).train
    model = nn.Sequential(
        nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10)
    )
    handle = bp.attach(model, rule)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    losses = []
    for step in range(steps):
        rows = slice(64 * (step % 19), 64 * (step % 19) + 64)
        with handle.targets(data.targets[rows]):
            loss = nn.functional.cross_entropy(model(data.inputs[rows]), data.targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses[0], sum(losses[-10:]) / 10


@devices
def test_direct_feedback_alignment_learns_by_light(device):
    frozen = trained(bp.Frozen())[1]
    before, after = trained(bp.DirectFeedbackAlignment(PhotonicProjection(device=device)))
    assert after < 0.6 * frozen
    assert after < 0.4 * before


def test_the_ideal_device_teaches_as_its_matrix_does():
    class Plain(PhotonicProjection):
        def project(self, x, out_features, stream):
            return x @ self.matrix(x.shape[-1], out_features, stream, x)

    kinds = Plain(device=ideal()), PhotonicProjection(device=ideal())
    rules = [bp.DirectFeedbackAlignment(kind) for kind in kinds]
    plain, light = (trained(rule, steps=10)[1] for rule in rules)
    assert light == pytest.approx(plain, rel=1e-4)


@pytest.mark.parametrize("rule", DIRECT)
def test_other_rules_take_it(rule):
    before, after = trained(rule(projection=PhotonicProjection(device=ideal())))
    assert after < 0.6 * before
    assert rule(projection=PhotonicProjection()).settings()["projection"]["name"] == "photonic"


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_row_that_no_mirror_shows_arrives_as_nan(device, value):
    x = torch.randn(4, 6)
    whole = PhotonicProjection(1, device=device).project(x, 5, 0)
    x[2, 3] = value
    found = PhotonicProjection(1, device=device).project(x, 5, 0)
    assert found[2].isnan().all()
    kept = [0, 1, 3]
    assert found[kept].isfinite().all()
    if device == ideal():
        torch.testing.assert_close(found[kept], whole[kept])


def test_a_gradient_scaler_skips_a_step_that_overflows():
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    bp.attach(model, bp.DirectFeedbackAlignment(PhotonicProjection()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=3e38)
    before = model[0].weight.clone()
    for overflows in (True, False):
        optimizer.zero_grad()
        loss = model(torch.randn(4, 6)).square().sum() * (1e3 if overflows else 1)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update(None if overflows else 1.0)
        assert torch.equal(before, model[0].weight) == overflows
        scaler.update(1.0)


def test_loss_scaling_changes_nothing():
    """By a power of two, to the bit: frames and noise are the same."""
    found = []
    for scale in (1.0, 1024.0):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
        bp.attach(model, bp.DirectFeedbackAlignment(PhotonicProjection()))
        loss = nn.functional.cross_entropy(model(torch.randn(8, 64)), torch.arange(8))
        (loss * scale).backward()
        found.append(model[0].weight.grad / scale)
    assert torch.equal(*found)


BY_LIGHT = {
    bp.DirectFeedbackAlignment: True,
    bp.DirectRandomTargetProjection: True,
    bp.DirectKolenPollack: False,
    bp.ErrorBroadcastDecorrelation: False,
    bp.FeedbackAlignment: False,
    bp.WeightMirror: False,
}


@pytest.mark.parametrize("rule", BY_LIGHT)
def test_which_rules_project_by_light_and_which_take_the_matrix(rule):
    """As docs/optics.md says."""
    optics = PhotonicProjection()
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4))
    handle = bp.attach(model, rule(projection=optics))
    x, y = torch.randn(3, 6), torch.arange(3)
    with handle.targets(y):
        loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    assert bool(optics.clock.shots) == BY_LIGHT[rule]
    assert ("feedback is the ideal matrix" in str(handle.report)) is not BY_LIGHT[rule]
    assert model[0].weight.grad.any()


def test_off_axis_has_a_matrix_for_as_many_outputs_as_it_projects_to():
    most = ideal().specification.max_outputs // 4
    optics = PhotonicProjection(device=replace(ideal(), retrieval=OffAxis()))
    with pytest.raises(bp.UserError, match=f"1 to {most:,} outputs"):
        optics.matrix(1, most + 1, 0, torch.zeros(1))
    with pytest.raises(bp.UserError, match=f"1 to {most:,} outputs"):
        optics.project(torch.ones(1, 1), most + 1, 0)


@pytest.mark.parametrize("seed", [-1, 1.5, 2**64])
def test_seeds_that_cannot_be(seed):
    with pytest.raises(bp.UserError, match="a seed must be a whole number"):
        PhotonicProjection(seed)


NAMES = {"ideal": ideal(), "lighton-opu": lighton_opu(), "PhotonicProcessor": PhotonicProcessor()}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_devices_are_those_of_specs(name):
    spec = {"photonic": {"device": name}}
    rule = bp.rules.make({"dfa": {"projection": spec}})
    made = (PhotonicProjection(device=name), PROJECTIONS.make(spec), rule.projection)
    assert [each.device for each in made] == [NAMES[name]] * 3


MISTYPED = {"lighton_opu": "lighton-opu", "opu": "lighton-opu", "Ideal": "ideal"}


@pytest.mark.parametrize("typed", MISTYPED)
def test_a_mistyped_device_is_suggested(typed):
    said = rf"'{typed}'; did you mean '{MISTYPED[typed]}'\?"
    with pytest.raises(bp.UserError, match=said):
        PhotonicProjection(device=typed)
    with pytest.raises(bp.UserError, match=said):
        PROJECTIONS.make({"photonic": {"device": typed}})
