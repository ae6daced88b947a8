"""Searches of settings: inside their budget, inside their grid, and the same when interrupted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beyondprop.experiment.search import (
    Setting,
    Space,
    at_edge,
    beside,
    chosen,
    ladder,
    ranked,
    spent,
    wanted,
)

GRID = (0.001, 0.003, 0.01, 0.03, 0.1)
SPACE = Space({"": GRID}, (1, 3, 9), 10.0)

Score = Callable[[Setting, int], float | None]


def record(setting: Setting, epochs: int, score: float | None, loss: float = 1.0) -> dict[str, Any]:
    """Return a trial's record; a score of None is that of a run which diverged."""
    return {
        "optimizer": setting.optimizer,
        "learning_rate": setting.learning_rate,
        "epochs": epochs,
        "status": "diverged" if score is None else "finished",
        "validation_score": score,
        "validation_loss": loss,
    }


def searched(
    space: Space, score: Score, cost: float = 1.0, begun: list[dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Return the records of a whole search."""
    trials = list(begun or [])
    while more := wanted(space, trials, cost):
        trials += [record(setting, epochs, score(setting, epochs)) for setting, epochs in more]
    return trials


def peak(at: float, diverges: float = math.inf) -> Score:
    """Return scores that are best at one learning rate, whatever the length."""

    def score(setting: Setting, epochs: int) -> float | None:
        del epochs
        rate = setting.learning_rate
        return None if rate >= diverges else -abs(math.log(rate / at))

    return score


@given(st.floats(-5, 2))
def test_a_search_finds_the_best_rate_even_beyond_its_grid(power: float) -> None:
    best = 10**power
    trials = searched(Space(SPACE.rates, SPACE.lengths, 100.0), peak(best))
    found = chosen(SPACE, trials).learning_rate
    assert not at_edge(SPACE, trials)
    assert best / 2 < found < best * 2  # the grid's steps are threefold


@given(st.floats(-5, 2), st.floats(0.1, 30), st.floats(0.05, 12))
def test_no_search_costs_more_than_its_budget(power: float, budget: float, cost: float) -> None:
    space = Space(SPACE.rates, SPACE.lengths, budget)
    trials = searched(space, peak(10**power), cost)
    assert spent(space, trials, cost) <= budget * (1 + 1e-9)


@given(st.floats(-4, 1), st.integers(0, 40))
def test_a_search_goes_on_from_its_records_as_if_it_had_not_been_interrupted(
    power: float, kept: int
) -> None:
    whole = searched(SPACE, peak(10**power))
    rest = searched(SPACE, peak(10**power), begun=whole[:kept])
    assert {str(trial) for trial in rest} == {str(trial) for trial in whole}


@given(st.dictionaries(st.sampled_from(GRID), st.none() | st.floats(0, 1), min_size=1))
def test_whatever_the_scores_a_search_ends_at_an_inner_rate_or_says_so(
    scores: dict[float, float | None],
) -> None:
    trials = searched(SPACE, lambda setting, _: scores.get(setting.learning_rate))
    setting = chosen(SPACE, trials)
    longest = max((t["epochs"] for t in trials if t["status"] == "finished"), default=None)
    tried = {t["learning_rate"] for t in trials if t["epochs"] == longest}
    inside = {one.learning_rate for one in beside(SPACE, setting)} <= tried
    assert at_edge(SPACE, trials) is not inside


def test_a_short_trial_does_not_choose() -> None:
    def noise(setting: Setting, epochs: int) -> float:
        # In one epoch the largest rates look best, in nine 0.01 is.
        return (
            setting.learning_rate if epochs == 1 else -abs(math.log(setting.learning_rate / 0.01))
        )

    trials = searched(SPACE, noise)
    assert chosen(SPACE, trials).learning_rate == 0.01
    assert len([t for t in trials if t["epochs"] == 9]) < len(
        [t for t in trials if t["epochs"] == 1]
    )


@pytest.mark.parametrize("cost", [1.0, 1.9, 3.24, 5.0, 10.5])
def test_a_rule_of_dear_steps_tries_its_whole_grid_in_shorter_trials(cost: float) -> None:
    trials = searched(SPACE, peak(0.03), cost)
    assert {t["learning_rate"] for t in trials if t["epochs"] == 1} >= set(GRID)
    assert chosen(SPACE, trials).learning_rate == 0.03
    assert not at_edge(SPACE, trials)
    assert spent(SPACE, trials, cost) <= SPACE.budget


def test_noise_in_short_trials_does_not_take_the_budget_of_long_ones() -> None:
    trials = searched(SPACE, lambda one, epochs: one.learning_rate if epochs < 9 else 0.5)
    for epochs in (1, 3):
        assert len([t for t in trials if t["epochs"] == epochs]) <= 9
    assert len([t for t in trials if t["epochs"] == 9]) >= 3


def test_every_optimizers_own_best_is_sought_beyond_its_grid() -> None:
    space = Space({"adam": GRID, "sgd": GRID}, (1, 3, 9), 20.0)

    def score(setting: Setting, epochs: int) -> float | None:
        del epochs
        best, top = (0.01, 0.5) if setting.optimizer == "adam" else (1.0, 0.9)
        return top - abs(math.log10(setting.learning_rate / best))

    assert chosen(space, searched(space, score)).optimizer == "sgd"
    assert chosen(space, searched(space, score)).learning_rate == pytest.approx(1.11, rel=0.01)


def test_a_budget_that_ends_at_an_edge_is_marked() -> None:
    space = Space(SPACE.rates, SPACE.lengths, 2.0)
    trials = searched(space, peak(100.0))
    assert at_edge(space, trials)
    assert not at_edge(SPACE, searched(SPACE, peak(0.01)))


def test_a_rate_below_one_that_diverges_lies_inside() -> None:
    trials = searched(SPACE, peak(100.0, diverges=0.05))
    assert chosen(SPACE, trials).learning_rate == 0.03
    assert not at_edge(SPACE, trials)


def test_every_optimizer_has_a_grid_of_its_own() -> None:
    space = Space({"adam": GRID, "sgd": (0.01, 0.03, 0.1)}, (1, 3), 20.0)
    trials = searched(space, lambda one, _: float(one.optimizer == "sgd") - one.learning_rate)
    assert chosen(space, trials).optimizer == "sgd"
    first = {(t["optimizer"], t["learning_rate"]) for t in trials if t["epochs"] == 1}
    assert {("adam", rate) for rate in GRID} <= first


@pytest.mark.parametrize(
    ("trials", "best"),
    [
        ([(0.1, 0.5, 1.0), (0.2, 0.6, 1.0), (0.3, 0.4, 1.0)], 0.2),
        ([(0.1, 0.5, 2.0), (0.2, 0.5, 1.0)], 0.2),
        ([(0.2, 0.5, 1.0), (0.1, 0.5, 1.0)], 0.1),
        ([(0.1, 0.5, 1.0), (0.3, None, 0.0)], 0.1),
    ],
    ids=["score", "then loss", "then lower", "finished ones"],
)
def test_ranking(trials: list[tuple[float, float | None, float]], best: float) -> None:
    settings = {Setting("", rate): record(Setting("", rate), 1, *rest) for rate, *rest in trials}
    assert ranked(settings)[0].learning_rate == best


def test_scores_within_their_noise_are_ranked_by_loss() -> None:
    settings = [Setting("", rate) for rate in (0.1, 0.2, 0.3)]
    scores, losses = (0.52, 0.50, 0.40), (1.06, 0.79, 0.10)
    few = {
        one: record(one, 1, score, loss) | {"validation_samples": 60}
        for one, score, loss in zip(settings, scores, losses, strict=True)
    }
    assert ranked(few) == [settings[1], settings[0], settings[2]]  # 0.40 is two errors away
    many = {one: trial | {"validation_samples": 60_000} for one, trial in few.items()}
    assert ranked(many) == settings


def test_where_no_trial_finished_the_lowest_rate_is_taken() -> None:
    trials = searched(SPACE, lambda *_: None)
    lowest = min(trial["learning_rate"] for trial in trials)
    assert chosen(SPACE, trials) == Setting("", lowest)
    assert at_edge(SPACE, trials)


def test_where_every_rate_of_the_grid_diverges_the_grid_moves_down() -> None:
    space = Space({"adam": GRID, "sgd": GRID}, (1, 3), 20.0)
    trials = searched(space, peak(1e-4, diverges=5e-4))
    assert chosen(space, trials).learning_rate < 5e-4
    assert {t["optimizer"] for t in trials if t["learning_rate"] < 1e-3} == {"adam", "sgd"}


def test_a_rule_that_fails_is_not_tried_at_ever_lower_rates() -> None:
    trials: list[dict[str, Any]] = []
    while more := wanted(SPACE, trials, 1.0):
        trials += [record(*one, None) | {"status": "failed"} for one in more]
    assert {trial["learning_rate"] for trial in trials} == set(GRID)


@given(
    st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=6, unique=True), st.integers(0, 1000)
)
def test_neighbours_exist_for_any_rates(rates: list[float], place: int) -> None:
    rates.sort()
    rate = rates[place % len(rates)]
    grid = ladder(rates, rate)
    assert grid[0] < rate < grid[-1]
    assert all(
        0 < one.learning_rate < math.inf
        for one in beside(Space({"": rates}, (1,), 1), Setting("", rate))
    )
