import gc
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

import beyondprop as bp
from beyondprop.errors import UserError
from beyondprop.measure import (
    Case,
    Step,
    rule_step,
    step_time,
)
from beyondprop.measure.step_time import order

Batch = tuple[Tensor, Tensor]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only steps move."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def taking(seconds: list[float], clock: list[float]) -> Callable[[], Step]:
    """A case whose steps take these times in turn, again and again."""

    def build() -> Step:
        count = iter(range(10**6))

        def step() -> None:
            clock[0] += seconds[next(count) % len(seconds)]

        return step

    return build


def test_times_are_medians_and_ratios_are_within_rounds(clock: list[float]) -> None:
    """A machine that slows down for both keeps the ratio; the medians alone would not show it."""
    plain, rule = [1.0, 2.0, 6.0, 1.5], [0.5, 3.0, 3.0, 3.0]
    cases = [Case("plain", taking(plain, clock)), Case("rule", taking(rule, clock))]
    found = step_time(cases, rounds=4, warmup=4)
    assert found["plain"].seconds == pytest.approx(1.75)
    assert found["plain"].ratio == 1.0
    assert found["rule"].seconds == pytest.approx(3.0)
    assert found["rule"].ratio == pytest.approx(1.0)  # of 0.5, 0.5, 1.5, 2
    assert found["rule"].quartiles == (pytest.approx(0.5), pytest.approx(1.625))


def test_short_steps_are_taken_several_in_a_row(clock: list[float]) -> None:
    taken: list[str] = []

    def case(name: str) -> Case:
        def build() -> Step:
            def step() -> None:
                taken.append(name)
                clock[0] += 0.002

            return step

        return Case(name, build)

    found = step_time([case("a"), case("b")], rounds=2, warmup=1)
    assert taken == ["a", "b"] + ["a"] * 3 + ["b"] * 3 + ["b"] * 3 + ["a"] * 3
    assert found["b"].seconds == pytest.approx(0.002)


def test_cases_take_turns_at_going_first_and_at_following_one_another() -> None:
    cases = 4
    rounds = [order(cases, number) for number in range(2 * cases)]
    assert all(sorted(taken) == list(range(cases)) for taken in rounds)
    firsts = [taken[0] for taken in rounds]
    assert all(firsts.count(case) == 2 for case in range(cases))
    follows = {(a, b) for taken in rounds for a, b in pairwise(taken)}
    assert {(0, 1), (1, 0), (2, 1), (1, 2)} <= follows


def test_no_garbage_is_collected_within_a_step(clock: list[float]) -> None:
    seen: list[bool] = []

    def build() -> Step:
        def step() -> None:
            seen.append(gc.isenabled())
            clock[0] += 1

        return step

    assert gc.isenabled()
    step_time([Case("a", build)], rounds=2, warmup=1)
    assert seen == [False] * 3
    assert gc.isenabled()
    gc.disable()
    try:
        step_time([Case("a", build)], rounds=1, warmup=1)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_all_models_start_alike_and_the_generator_is_left_alone(clock: list[float]) -> None:
    weights: list[Tensor] = []

    def build() -> Step:
        weights.append(nn.Linear(3, 3).weight)
        return lambda: clock.__setitem__(0, clock[0] + torch.rand(()).item())

    state = torch.get_rng_state()
    step_time([Case("a", build), Case("b", build)], rounds=2, warmup=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(*weights)


@pytest.mark.parametrize(
    ("names", "rounds", "warmup"), [([], 1, 1), (["a", "a"], 1, 1), (["a"], 0, 1), (["a"], 1, 0)]
)
def test_what_cannot_be_timed_is_an_error(names: list[str], rounds: int, warmup: int) -> None:
    cases = [Case(name, lambda: lambda: None) for name in names]
    with pytest.raises(UserError, match="step_time needs"):
        step_time(cases, rounds, warmup)


def deterministic_net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


@pytest.mark.parametrize("rule", [None, "backprop", "fa", "dfa", "drtp", "frozen"])
def test_a_step_is_one_of_the_ordinary_loop(rule: str | None, batch: Batch) -> None:
    built: list[nn.Module] = []

    def model() -> nn.Module:
        torch.manual_seed(0)
        built.append(deterministic_net().eval())
        return built[-1]

    made = None if rule is None else bp.rules.make(rule)
    step = rule_step(model, made, *batch, F.cross_entropy, SGD, 0.1)
    assert built[0].training
    for _ in range(2):
        step()

    own = model()
    handle = bp.attach(own, made or bp.Backprop())
    optimizer = SGD(own.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        with handle.targets(batch[1]):
            F.cross_entropy(own(batch[0]), batch[1]).backward()
        optimizer.step()
    for name, parameter in built[0].named_parameters():
        assert torch.equal(parameter, own.get_parameter(name)), name
    assert (bp.attachment_of(built[0]) is None) == (rule is None)


def test_blocks_are_passed_on(batch: Batch) -> None:
    built = deterministic_net()
    rule_step(lambda: built, bp.Backprop(), *batch, F.cross_entropy, SGD, 0.1, ["2"])
    handle = bp.attachment_of(built)
    assert handle is not None
    assert [block.name for block in handle.blocks] == ["2"]


def test_real_steps_are_timed(batch: Batch) -> None:
    rules = {"plain": None, "dfa": bp.DirectFeedbackAlignment()}
    cases = [
        Case(
            name,
            partial(rule_step, deterministic_net, rule, *batch, F.cross_entropy, SGD, 0.1),
        )
        for name, rule in rules.items()
    ]
    found = step_time(cases, rounds=3, warmup=1)
    assert list(found) == ["plain", "dfa"]
    assert all(time.seconds > 0 for time in found.values())
    assert found["dfa"].quartiles[0] <= found["dfa"].ratio <= found["dfa"].quartiles[1]
