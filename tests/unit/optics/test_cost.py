"""Costs: sums of what the figures say."""

from dataclasses import replace

import pytest

import beyondprop as bp
from beyondprop.optics import (
    Binary,
    Camera,
    Electronics,
    Link,
    OffAxis,
    PhaseShifting,
    Specification,
    break_even,
    electronic_cost,
    ideal,
    lighton_opu,
    measured_rate,
    optical_cost,
    step_cost,
)

CHIP, LINK = Electronics(rate=1e10, power=40.0), Link(inputs=1e8, outputs=2e8)


def test_by_hand():
    found = optical_cost(lighton_opu(), CHIP, LINK, rows=3, inputs=800, outputs=1000)
    frames, shots = 3 * 2, 3 * 2 * 5
    assert found.encode == pytest.approx(4 * frames * 800 / 1e10)
    assert found.send == pytest.approx(frames * 100 / 1e8)
    assert found.shots == pytest.approx(shots / 2000)
    assert found.receive == pytest.approx(shots * 1000 / 2e8)
    assert found.recover == pytest.approx(frames * (8 * 5 + 2) * 1000 / 1e10)
    assert found.product == 0
    parts = found.encode + found.send + found.shots + found.receive + found.recover
    assert found.seconds == pytest.approx(parts)
    light = found.send + found.shots + found.receive
    assert found.joules == pytest.approx(30 * light + 40 * (found.encode + found.recover))


def test_electronics_by_hand():
    found = electronic_cost(CHIP, rows=3, inputs=800, outputs=1000)
    assert found.product == found.seconds == pytest.approx(2 * 3 * 800 * 1000 / 1e10)
    assert found.joules == pytest.approx(40 * found.seconds)
    rate = measured_rate(found.seconds, 3, 800, 1000)
    assert rate == pytest.approx(1e10)


def test_numbers_that_are_used_once_have_a_rate_of_their_own():
    slow = replace(CHIP, simple_rate=1e9)
    found, fast = (optical_cost(lighton_opu(), chip, LINK, 3, 800, 1000) for chip in (slow, CHIP))
    assert found.encode == pytest.approx(10 * fast.encode)
    assert found.recover == pytest.approx(10 * fast.recover)
    assert electronic_cost(slow, 3, 800, 1000) == electronic_cost(CHIP, 3, 800, 1000)
    steps = [step_cost(found, chip, 32, (64, 512, 10)) for chip in (slow, CHIP)]
    assert steps[0].nonlinearity == pytest.approx(10 * steps[1].nonlinearity)
    assert steps[0].update == pytest.approx(10 * steps[1].update)
    assert steps[0].forward == steps[1].forward
    with pytest.raises(bp.UserError, match="simple_rate of Electronics must be a number above 0"):
        replace(CHIP, simple_rate=0.0)


def test_wider_numbers_and_more_pixels_take_longer_to_carry():
    def receive(**change):
        return optical_cost(replace(ideal(), **change), CHIP, LINK, 1, 100, 100).receive

    eight = receive(camera=Camera(full_well=1e4, bits=8))
    assert receive() == receive(camera=Camera(full_well=1e4, bits=12)) == 2 * eight
    assert receive(retrieval=OffAxis()) == pytest.approx(
        receive()
    )  # a shot of four pixels for four


def test_a_step_holds_what_stays_electronic():
    projection = electronic_cost(CHIP, 32, 10, 512)
    found = step_cost(projection, CHIP, rows=32, widths=(64, 512, 256, 10))
    weights = 64 * 512 + 512 * 256 + 256 * 10
    assert found.forward == found.gradients == pytest.approx(2 * 32 * weights / 1e10)
    assert found.nonlinearity == pytest.approx(8 * 32 * (512 + 256) / 1e10)
    assert found.update == pytest.approx(2 * weights / 1e10)
    rest = 2 * found.forward + found.nonlinearity + found.update
    assert found.seconds == pytest.approx(rest + projection.seconds)
    assert found.joules == pytest.approx(40 * found.seconds)
    light = optical_cost(lighton_opu(), CHIP, LINK, 32, 10, 512)
    by_light = step_cost(light, CHIP, rows=32, widths=(64, 512, 256, 10))
    assert by_light.seconds - light.seconds == pytest.approx(rest)
    assert by_light.joules == pytest.approx(40 * rest + light.joules)


@pytest.mark.parametrize("retrieval", [PhaseShifting(), OffAxis()], ids=repr)
@pytest.mark.parametrize("rows", [1, 64])
def test_the_break_even_is_where_light_begins_to_win(retrieval, rows):
    device = replace(lighton_opu(), retrieval=retrieval)
    side = break_even(device, CHIP, LINK, rows)
    assert side is not None

    def ahead(n):
        light = optical_cost(device, CHIP, LINK, rows, n, n).seconds
        return light <= electronic_cost(CHIP, rows, n, n).seconds

    assert not ahead(side - 1)
    assert all(ahead(n) for n in (side, side + 1, 2 * side))


def test_faster_electronics_and_slower_optics_move_it_up():
    base = break_even(lighton_opu(), CHIP, LINK)
    assert break_even(lighton_opu(), replace(CHIP, rate=1e12), LINK) > base
    slow = replace(lighton_opu(), specification=Specification(frame_rate=200.0))
    assert break_even(slow, CHIP, LINK) > base
    assert break_even(replace(lighton_opu(), encoder=Binary()), CHIP, LINK) < base
    assert break_even(lighton_opu(), replace(CHIP, rate=1e18), LINK) is None


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Link(inputs=0),
        lambda: Electronics(rate=-1.0, power=1.0),
        lambda: measured_rate(0, 1, 1, 1),
    ],
)
def test_figures_out_of_range(wrong):
    with pytest.raises(bp.UserError, match=r"must be (a number )?above 0"):
        wrong()


def test_widths_over_the_limits():
    with pytest.raises(bp.UserError, match="inputs"):
        optical_cost(lighton_opu(), CHIP, LINK, 1, 2_000_000, 10)
