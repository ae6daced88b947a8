"""Assemblies under a budget, against every combination."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from beyondprop.errors import UserError
from beyondprop.neighbourhoods import Assembly, Option, options_of, replaced_alone, search
from beyondprop.neighbourhoods.search import TEACHER
from tests.unit.neighbourhoods.pieces import batches, teacher
from tests.unit.neighbourhoods.test_distil import distilled

NUMBERS = st.integers(1, 20)


@st.composite
def many(draw: st.DrawFn) -> dict[str, dict[str, Option]]:
    labels = [TEACHER, "a", "b"]
    return {
        name: {
            label: Option(
                float(draw(NUMBERS)), {"parameters": draw(NUMBERS), "seconds": draw(NUMBERS)}
            )
            for label in labels[: draw(st.integers(1, 3))]
        }
        for name in "xyz"
    }


def every(
    options: dict[str, dict[str, Option]], budget: dict[str, float]
) -> list[tuple[float, tuple[str, ...]]]:
    """Return the scores of all combinations within a budget, slowly, the best first."""
    found = []
    for labels in product(*options.values()):
        taken = [options[name][label] for name, label in zip(options, labels, strict=True)]
        if all(sum(each.costs[cost] for each in taken) <= most for cost, most in budget.items()):
            found.append((sum(each.score for each in taken), labels))
    return sorted(found)


@given(many(), st.integers(3, 60), st.integers(3, 60))
@settings(max_examples=60, deadline=None)
def test_the_best_assemblies_are_those_of_all_combinations(
    options: dict[str, dict[str, Option]], parameters: int, seconds: int
) -> None:
    budget = {"parameters": float(parameters), "seconds": float(seconds)}
    expected = every(options, budget)
    if not expected:
        with pytest.raises(UserError, match="no assembly is within the budget: parameters"):
            search(options, budget)
        return
    found = search(options, budget, 4)
    assert [each.score for each in found] == pytest.approx([score for score, _ in expected[:4]])
    assert len({tuple(sorted(each.choice.items())) for each in found}) == len(found)
    for each in found:
        assert all(each.costs[cost] <= most for cost, most in budget.items())
        assert each.score == sum(score_of(options, name, each) for name in options)


def score_of(options: dict[str, dict[str, Option]], name: str, assembly: Assembly) -> float:
    return options[name][assembly.choice.get(name, TEACHER)].score


def test_an_unknown_cost_is_told() -> None:
    with pytest.raises(UserError, match="the cost 'watts' of 'x', teacher is not known"):
        search({"x": {TEACHER: Option(0.0, {})}}, {"watts": 1.0})


def test_students_are_options_beside_the_teachers_piece(tmp_path: Path) -> None:
    model, library = teacher(), distilled(tmp_path)
    options = options_of(model, library, timed=True)
    assert [*options["0"]] == [TEACHER, "same", "fresh", "line"]
    assert options["0"][TEACHER].score == 0
    assert options["0"]["line"].score == library.students["0"]["line"].error
    assert options["0"]["line"].costs["parameters"] == 3 * 4 + 4
    assert options["0"]["line"].costs["operations"] == 2 * 3 * 4
    assert options["0"]["line"].costs["seconds"] > 0
    (least,) = search(options, {"parameters": 3 * 4 + 4 + 4 * 4 + 4})
    assert least.choice == {"0": "line", "1": "line"}
    (same,) = search(options, {"parameters": 1e9})
    assert same.choice == {}
    assert torch.equal(library.merge(model, same.choice)(batches()[0]), model(batches()[0]))


def test_students_are_judged_by_what_they_do_to_the_whole(tmp_path: Path) -> None:
    model, library, x = teacher(), distilled(tmp_path), batches()[0]
    expected = model(x)

    @torch.no_grad()
    def loss(whole: nn.Module) -> float:
        return (whole(x) - expected).square().mean().item()

    found = replaced_alone(model, library, loss)
    assert found["0"]["same"] < found["0"]["fresh"] < found["0"]["line"]
    assert found["1"]["line"] == loss(library.merge(model, {"1": "line"}))


def alone(**scores: float) -> dict[str, dict[str, Option]]:
    costs = {TEACHER: 5.0, "half": 2.0, "nothing": 0.0}
    return {
        "x": {label: Option(score, {"operations": costs[label]}) for label, score in scores.items()}
    }


def test_a_budget_of_nothing_is_that_of_what_costs_nothing() -> None:
    options = alone(teacher=0.0, half=0.1, nothing=1.0)
    (found,) = search(options, {"operations": 0.0})
    assert found.choice == {"x": "nothing"}
    assert [each.choice for each in search(options, {"operations": 2.0}, 3)] == [
        {"x": "half"},
        {"x": "nothing"},
    ]
    (whole,) = search(options, {"operations": float("inf")})
    assert whole.choice == {}
    with pytest.raises(UserError, match=r"operations 0 where 2 is the least"):
        search(alone(teacher=0.0, half=0.1), {"operations": 0.0})


@pytest.mark.parametrize("most", [-5.0, float("nan"), float("-inf")])
def test_a_budget_that_is_no_limit_is_told(most: float) -> None:
    with pytest.raises(UserError, match="the budget of operations must be a number of 0 or more"):
        search(alone(teacher=0.0), {"operations": most})
    with pytest.raises(UserError, match="count must be"):
        search(alone(teacher=0.0), {}, 0)


def test_an_option_whose_score_is_no_number_is_not_chosen_and_that_is_said() -> None:
    options = alone(teacher=0.0, half=float("nan"), nothing=1.0)
    with pytest.warns(
        UserWarning, match="not chosen, because their scores are not numbers: 'x', half"
    ):
        (found,) = search(options, {"operations": 2.0})
    assert found.choice == {"x": "nothing"}
    with pytest.raises(UserError, match="'x' has no option whose score is a number"):
        search(alone(half=float("nan")), {"operations": 2.0})


def test_scores_of_some_students_are_told(tmp_path: Path) -> None:
    library = distilled(tmp_path)
    with pytest.raises(UserError, match="there is no score for '0', fresh: give one per student"):
        options_of(teacher(), library, {"0": {"same": 0.0}})
    with pytest.raises(UserError, match="there is no score for '0', same"):
        options_of(teacher(), library, {})


@settings(max_examples=30)
@given(many(), st.sampled_from([1e-3, 1e-6, 1e-9]), st.integers(3, 60))
def test_small_scores_are_told_apart(
    options: dict[str, dict[str, Option]], size: float, most: int
) -> None:
    small = {
        name: {label: Option(size * each.score, each.costs) for label, each in of.items()}
        for name, of in options.items()
    }
    budget = {"parameters": float(most)}
    expected = every(small, budget)[:3]
    if not expected:
        return
    found = search(small, budget, 3)
    assert [each.score for each in found] == pytest.approx([score for score, _ in expected])


def test_what_is_over_a_budget_by_next_to_nothing_is_not_taken() -> None:
    teacher_piece = Option(0.0, {"parameters": 1_000_000_000})
    options = {"a": {TEACHER: teacher_piece, "s": Option(1.0, {"parameters": 5e8})}}
    (found,) = search(options, {"parameters": 999_999_600})
    assert found.choice == {"a": "s"}
    (found,) = search(options, {"parameters": 1_000_000_000})
    assert found.choice == {}
