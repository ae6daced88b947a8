"""Fairness: figures by hand and by fairlearn, how sure they are, and the section of the audit."""

import json
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.progress import Progress
from torch import Tensor, nn

from beyondprop.audit import Audited
from beyondprop.audit.base import check_installed
from beyondprop.errors import UserError
from beyondprop.tasks import Data, Split, Task, find

pytest.importorskip("fairlearn")

from fairlearn import metrics

from beyondprop.audit.fairness import (
    Decisions,
    Fairness,
    by_group,
    calibration_error,
    chance,
    changes,
    decisions_of,
    differences,
    intervals,
    reliability,
)
from beyondprop.audit.fairness.paired import holm
from beyondprop.audit.fairness.sums import rows_of, spreads, sums_of

QUICK = Fairness(draws=100)


def made(counts: Sequence[tuple[int, int, int, int]], names: str = "abcdef") -> Decisions:
    """Return people by how many of each group are rightly selected, wrongly selected, wrongly not,
    rightly not. Those selected have a probability of 0.8, the others of 0.3.
    """
    group, truth, selected = [], [], []
    for number, each in enumerate(counts):
        group += [number] * sum(each)
        for (true, chosen), count in zip([(1, 1), (0, 1), (1, 0), (0, 0)], each, strict=True):
            truth += [bool(true)] * count
            selected += [bool(chosen)] * count
    probability = np.where(selected, 0.8, 0.3)
    people = np.array(truth), np.array(selected), probability, np.array(group)
    return Decisions(*people, tuple(names[: len(counts)]))


TWO = made([(12, 4, 8, 16), (6, 3, 6, 25)])


def test_figures_of_groups_are_those_by_hand() -> None:
    a, b = by_group(TWO).values()
    wanted = {
        "base_rate": (20 / 40, 12 / 40),
        "selection_rate": (16 / 40, 9 / 40),
        "accuracy": (28 / 40, 31 / 40),
        "true_positive_rate": (12 / 20, 6 / 12),
        "false_positive_rate": (4 / 20, 3 / 28),
        "mean_probability": ((16 * 0.8 + 24 * 0.3) / 40, (9 * 0.8 + 31 * 0.3) / 40),
        # |Σ probabilities − Σ truths| in the bins of 0.8 and of 0.3
        "calibration_error": (
            (abs(12.8 - 12) + abs(7.2 - 8)) / 40,
            (abs(7.2 - 6) + abs(9.3 - 6)) / 40,
        ),
    }
    for name, figures in wanted.items():
        assert (a[name], b[name]) == pytest.approx(figures), name


def test_differences_are_those_by_hand_and_those_of_fairlearn() -> None:
    found = differences(TWO)
    by_hand = {
        "demographic_parity_difference": 16 / 40 - 9 / 40,
        "demographic_parity_ratio": 9 / 16,
        "equalized_odds_difference": max(12 / 20 - 6 / 12, 4 / 20 - 3 / 28),
        "accuracy_difference": 3 / 40,
        "calibration_error_difference": (4.5 - 1.6) / 40,
    }
    assert found == pytest.approx(by_hand)
    told = {
        "y_true": TWO.truth.astype(int),
        "y_pred": TWO.selected.astype(int),
        "sensitive_features": TWO.group,
    }
    for name in list(by_hand)[:3]:
        assert found[name] == pytest.approx(getattr(metrics, name)(**told)), name


def test_a_rate_of_nobody_is_none_and_left_out_of_equalised_odds() -> None:
    three = made([(12, 4, 8, 16), (6, 3, 6, 25), (0, 5, 0, 30)])
    assert by_group(three)["c"]["true_positive_rate"] is None
    assert by_group(three)["c"]["false_positive_rate"] == pytest.approx(5 / 35)
    assert differences(three)["equalized_odds_difference"] == pytest.approx(0.1)
    assert differences(three)["demographic_parity_ratio"] == pytest.approx((5 / 35) / 0.4)
    nobody = differences(made([(0, 0, 8, 16), (0, 0, 6, 25)]))
    assert nobody["demographic_parity_difference"] == 0
    assert nobody["demographic_parity_ratio"] is None
    assert set(differences(made([(12, 4, 8, 16)])).values()) == {None}


def test_calibration_and_its_curve() -> None:
    truth = np.array([True, True, False, True])
    probability = np.array([0.95, 1.0, 0.05, 0.15])
    assert calibration_error(truth, probability) == pytest.approx((0.05 + 0.05 + 0.85) / 4)
    assert calibration_error(truth, truth.astype(float)) == 0
    curve = reliability(TWO)
    assert [each["samples"] for each in curve] == [55, 25]
    assert [each["predicted"] for each in curve] == pytest.approx([0.3, 0.8])
    assert [each["found"] for each in curve] == pytest.approx([14 / 55, 18 / 25])


cells = st.tuples(*[st.integers(0, 6)] * 4).filter(lambda each: sum(each) > 0)
tables = st.lists(cells, min_size=2, max_size=4)


@settings(max_examples=20, deadline=None)
@given(tables)
def test_sums_say_what_fairlearn_says(counts: list[tuple[int, int, int, int]]) -> None:
    people = made(counts)
    quick = spreads(sums_of(rows_of(people), people.group, len(people.names)))
    for name, value in differences(people).items():
        assert float(quick[name]) == pytest.approx(np.nan if value is None else value, nan_ok=True)


@settings(max_examples=15, deadline=None)
@given(cells, st.integers(2, 4))
def test_groups_that_are_treated_alike_do_not_differ(
    each: tuple[int, int, int, int], groups: int
) -> None:
    people = made([each] * groups)
    for name, value in differences(people).items():
        if value is not None:
            assert value == pytest.approx(1.0 if name.endswith("ratio") else 0.0)
    for name, drawn in chance(people, draws=20).items():
        if drawn is not None:
            assert drawn.p == 1.0, name
    for name, ends in intervals(people, draws=20)[0].items():
        if ends is not None and name.endswith("ratio"):
            assert ends.high == pytest.approx(1.0)
        elif ends is not None:
            assert ends.low == 0.0


@settings(max_examples=15, deadline=None)
@given(tables, st.randoms(use_true_random=False))
def test_the_names_and_the_order_of_groups_change_nothing(
    counts: list[tuple[int, int, int, int]], drawn: Any
) -> None:
    people = made(counts)
    order = drawn.choice(list(permutations(range(len(counts)))))
    again = made([counts[place] for place in order], "uvwxyz")
    assert differences(again) == pytest.approx(differences(people))
    figures, renamed = list(by_group(people).values()), list(by_group(again).values())
    assert [figures[place] for place in order] == renamed


def test_intervals_hold_what_was_found_and_chance_tells_differences_from_none() -> None:
    apart = made([(240, 80, 160, 320), (60, 20, 160, 560)])
    ends, of_groups = intervals(apart, draws=300)
    for name, value in differences(apart).items():
        found = ends[name]
        assert found is not None
        assert value is not None
        assert found.low <= value <= found.high, name
    parity = ends["demographic_parity_difference"]
    assert parity is not None
    # Two shares of 800: the error of their difference is 0.0207, by hand.
    error = (0.4 * 0.6 / 800 + 0.1 * 0.9 / 800) ** 0.5
    assert (parity.high - parity.low) / 2 == pytest.approx(1.96 * error, rel=0.12)
    assert chance(apart, draws=200)["demographic_parity_difference"].p == 1 / 201  # type: ignore[union-attr]
    rate = of_groups[0]["selection_rate"]
    assert rate is not None
    assert rate.low < 0.4 < rate.high
    assert intervals(apart, draws=50)[0] == intervals(apart, draws=50)[0]  # the seed's


def test_intervals_of_alike_groups_reach_zero() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(40):
        group = np.repeat([0, 1, 2], [100, 200, 300])
        truth, selected = generator.random((2, 600)) < 0.4
        people = Decisions(truth, selected, np.where(selected, 0.8, 0.3), group, ("a", "b", "c"))
        found = intervals(people, draws=60, seed=seed)[0]["demographic_parity_difference"]
        assert found is not None
        covered += found.low == 0
    assert covered >= 34  # 95% of 40 are 38


def test_the_limit_by_chance_is_what_groups_drawn_by_hand_give() -> None:
    """The share selected of 100 among 400 drawn without repetition: hypergeometric."""
    from scipy.stats import hypergeom

    people = made([(20, 10, 30, 40), (60, 30, 90, 120)])
    drawn = hypergeom.rvs(400, 120, 100, size=4000, random_state=0)
    wanted = np.quantile(np.abs(drawn / 100 - (120 - drawn) / 300), 0.95)
    found = chance(people, draws=2000)["demographic_parity_difference"]
    assert found is not None
    assert found.limit == pytest.approx(wanted, abs=0.01)


def test_two_large_groups_that_differ_are_not_drowned_by_a_small_one() -> None:
    large = [(300, 100, 200, 400), (200, 100, 300, 400)]  # true positive rates of 0.6 and 0.4
    people = made([*large, (3, 7, 4, 26)])
    found = chance(people, draws=200)["equalized_odds_difference"]
    assert found is not None
    assert found.limit > 0.2  # by seven people alone
    assert found.p == 1 / 201


def test_chance_is_right_as_often_as_it_says() -> None:
    """Of groups that are alike one test in twenty finds a difference."""
    generator, wrong = np.random.default_rng(1), 0
    for seed in range(60):
        group = np.repeat([0, 1, 2], [20, 40, 100])
        truth, selected = generator.random((2, 160)) < 0.4
        people = Decisions(truth, selected, np.where(selected, 0.8, 0.3), group, ("a", "b", "c"))
        found = chance(people, draws=39, seed=seed)["equalized_odds_difference"]
        wrong += found is not None and found.p <= 0.05
    assert wrong <= 8  # of 60 more is as rare as 1 in 300


def test_a_model_beside_itself_differs_nowhere() -> None:
    found, apart = changes(TWO, TWO, draws=50)
    assert {each.difference for each in found} == {0.0}
    assert {each.p for each in found} == {1.0}
    assert all(value == 0 and ends and ends.low == ends.high == 0 for value, ends in apart.values())


def test_the_group_whose_treatment_differs_is_found() -> None:
    selected = TWO.selected.copy()
    spared = (~TWO.selected & ~TWO.truth & (TWO.group == 0)).nonzero()[0]  # 16 of group a
    selected[spared[:14]] = True
    other = Decisions(TWO.truth, selected, TWO.probability, TWO.group, TWO.names)
    found, apart = changes(other, TWO, draws=200)
    real = {(each.group, each.rate) for each in found if each.real}
    assert real == {("a", "selection_rate"), ("a", "accuracy"), ("a", "false_positive_rate")}
    rate = next(each for each in found if (each.group, each.rate) == ("a", "selection_rate"))
    assert rate.difference == pytest.approx(14 / 40)
    assert rate.interval is not None
    assert rate.interval.low < 14 / 40 < rate.interval.high
    # All 14 on one side: twice 1/2¹⁴, times the 8 that were asked.
    assert rate.p == pytest.approx(8 * 2 * 0.5**14)
    value, ends = apart["demographic_parity_difference"]
    assert value == pytest.approx(14 / 40)
    assert ends is not None
    assert ends.low < 14 / 40 < ends.high
    with pytest.raises(UserError, match="the same people"):
        changes(other, made([(12, 4, 8, 15), (6, 3, 6, 26)]))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])


def test_decisions_that_are_none_are_refused() -> None:
    logits, targets, group = torch.randn(4, 2), torch.tensor([0, 1, 1, 0]), torch.zeros(4).long()
    found = decisions_of(logits, targets, 1, group, ("a",))
    assert found.selected.tolist() == (logits[:, 1] > logits[:, 0]).tolist()
    assert found.probability == pytest.approx(logits.double().softmax(1)[:, 1].numpy())
    for outputs, message in (
        (torch.randn(4), r"logits \(n, classes\)"),
        (torch.full((4, 2), torch.nan), "not all finite"),
    ):
        with pytest.raises(UserError, match=message):
            decisions_of(outputs, targets, 1, group, ("a",))
    with pytest.raises(UserError, match="names of groups"):
        decisions_of(logits, targets, 1, group + 1, ("a",))
    with pytest.raises(UserError, match="one size"):
        decisions_of(logits, targets[:3], 1, group, ("a",))


class Selects(nn.Module):
    """Selects by one column, and for one group by another threshold."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(n, 2)`` of ``(n, columns)``: the second is the first column, less the
        bias where the last is positive.
        """
        second = x[:, 0] - self.bias * (x[:, -1] > 0)
        return torch.stack([torch.zeros_like(second), second], dim=1)


def loans(folder: Path, **settings_: Any) -> Task:
    """Return a task of a small table of loans."""
    drawn = np.random.default_rng(0)
    lines = ["pay,sex,town,paid"]
    for number in range(600):
        pay = drawn.normal()
        paid = "yes" if pay + 0.5 * drawn.normal() > 0 else "no"
        town = "Ulm" if number % 100 else "Jena"
        lines.append(f"{pay:.4f},{'fm'[number % 2]},{town},{paid}")
    path = folder / "loans.csv"
    path.write_text("\n".join(lines))
    given = {"protected": ("sex", "town"), "ignore": ("town",), "test": 0.5, "epochs": 1}
    return Task.from_csv(path, "paid", **(given | settings_))


def audited(task: Task, model: nn.Module, name: str = "dfa") -> Audited:
    return Audited(name, task, task.load(None), 0, lambda: model.eval())


def test_the_section_says_who_fares_worst_of_whom(tmp_path: Path) -> None:
    task = loans(tmp_path)
    found = QUICK.ask(audited(task, Selects(1.0)), Progress())  # less is given to men
    json.dumps(found, allow_nan=False)
    assert found["favourable"] == "yes"
    assert found["samples"] == 300
    assert "By sex, the group m fares worst" in found["verdict"]
    assert "'yes'" in found["verdict"]
    sex, town = found["attributes"]["sex"], found["attributes"]["town"]
    assert sex["worst"]["selection_rate"] == "m"
    parity = sex["differences"]["demographic_parity_difference"]
    assert parity["low"] <= parity["value"] <= parity["high"]
    assert parity["value"] > parity["by_chance"]
    assert parity["p"] < 0.05
    assert sex["left_out"] == []
    assert sum(each["samples"] for each in sex["groups"]) == 300
    assert {each["group"] for each in sex["groups"]} == {"f", "m"}
    low, high = sex["groups"][1]["intervals"]["selection_rate"]
    assert low < sex["groups"][1]["selection_rate"] < high
    # Of Jena there are few: they are named and count for no difference.
    assert [each["group"] for each in town["left_out"]] == ["Jena"]
    assert town["differences"] == {}
    assert town["worst"] == {}


def test_the_section_beside_another_model(tmp_path: Path) -> None:
    task = loans(tmp_path)
    one, other = audited(task, Selects(1.0)), audited(task, Selects(0.0), "backprop")
    found = QUICK.beside(one, other)
    json.dumps(found, allow_nan=False)
    assert list(found["attributes"]) == ["sex"]  # by town there is one group that counts
    assert found["verdict"].startswith("By sex, members of the group m are ")
    assert "less often with dfa than with backprop" in found["verdict"]
    women = [row for row in found["attributes"]["sex"]["groups"] if row["group"] == "f"]
    assert all(row["difference"] == 0 and not row["real"] for row in women)
    same = QUICK.beside(one, audited(task, Selects(1.0), "backprop"))
    assert "show no difference beyond" in same["verdict"]
    few = Fairness(draws=100, least=200).beside(one, other)
    assert "enough test samples" in few["verdict"]


def test_where_nobody_or_everybody_is_selected(tmp_path: Path) -> None:
    task = loans(tmp_path)

    class Never(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.new_tensor([1.0, 0.0]).expand(len(x), 2)

    found = QUICK.ask(audited(task, Never()), Progress())
    json.dumps(found, allow_nan=False)
    assert "equally often" in found["verdict"]
    assert found["attributes"]["sex"]["differences"]["demographic_parity_ratio"]["value"] is None
    few = Fairness(draws=100, least=1000).ask(audited(task, Never()), Progress())
    assert "enough test samples" in few["verdict"]


def test_tasks_without_protected_attributes_are_told_what_to_do() -> None:
    task = find("digits-mlp")
    with pytest.raises(
        UserError, match=r"digits-mlp .* name the columns in protected of from_csv; in Python, "
    ):
        QUICK.ask(audited(task, task.model()), Progress())


def test_of_several_classes_the_favourable_one_must_be_said() -> None:
    x, y = torch.randn(120, 3), torch.arange(120) % 3
    split = Split(x, y, {"sex": torch.arange(120) // 3 % 2})
    data = Data("three", split, split, split, ("bad", "fair", "good"), {"sex": ("f", "m")})
    task = Task("three", "three classes", load=lambda _: data, model=lambda: nn.Identity())
    with pytest.raises(UserError, match="has 3 classes: name the one that is good"):
        QUICK.ask(audited(task, nn.Identity()), Progress())
    with pytest.raises(UserError, match="no class 'great' among"):
        Fairness(favourable="great").ask(audited(task, nn.Identity()), Progress())
    found = Fairness("good", draws=100).ask(audited(task, nn.Identity()), Progress())
    rate = found["attributes"]["sex"]["groups"][0]["selection_rate"]
    women = x[split.notes["sex"] == 0]
    assert rate == pytest.approx((women.argmax(1) == 2).float().mean().item())


def test_settings_and_packages_are_checked() -> None:
    check_installed(Fairness())
    with pytest.raises(UserError, match="draws must be at least 100"):
        Fairness(draws=10)
