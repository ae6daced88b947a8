"""What pages say of comparisons: from records with chosen scores, checked by hand."""

from benchmarks.comparisons import words
from tests.unit.benchmarks.comparisons import made

BACKPROP = [0.900, 0.912, 0.894, 0.905, 0.909]


def less(by: float, jitter: float) -> list[float | None]:
    """Return backprop's scores less a distance that differs a little from seed to seed."""
    signs = (1, -1, 0, 1, -1)
    return [score - by + jitter * sign for score, sign in zip(BACKPROP, signs, strict=True)]


SCORES = {
    "backprop": [*BACKPROP],
    "far": less(0.1, 0.002),
    "near": less(0.001, 0.003),
    "between": less(0.004, 0.003),
    "better": less(-0.05, 0.002),
    "frozen": less(0.3, 0.004),
}


def test_a_verdict_tells_real_differences_from_those_of_one_pair_and_from_none() -> None:
    said = words.verdict(made.record(SCORES))
    assert said.startswith("On Made (1,000 test samples, 5 seeds): `better` (by 5.0 ± 0.2 points)")
    assert "`better` (by 5.0 ± 0.2 points) beats `backprop`." in said
    # 2.776 · 0.001995 / √5 = 0.25 points
    assert "`backprop` beats `far` (by 10.0 ± 0.2 points)." in said
    assert (
        "`backprop` beats `between` (by 0.4 ± 0.4 points), but only before Holm's correction."
        in said
    )
    assert "`near` (−0.1 ± 0.4 points) does not differ significantly from `backprop`." in said
    assert (
        "At 95%, 2 of 15 pairs do not differ significantly: `backprop` and `near`; `backprop` and "
        "`between`" in said
    )
    assert "Recovery is relative to frozen, the only lower control." in said
    assert "`backprop` (by 30.0 ± 0." in said
    assert "only large" not in said


def test_few_seeds_and_lost_runs_are_said() -> None:
    scores = {name: own[:3] for name, own in SCORES.items()} | {"lost": [None, None, None]}
    record = made.record(scores)
    record["chance"] = None
    said = words.verdict(record)
    assert said.endswith("With 3 seeds, only large differences can be significant.")
    assert "LOST has no score: of 3 runs, 3 diverged." in said
    assert "Not compared, because the score of a seed is missing: LOST." in said
    assert "`lost`" not in said


def test_a_diverged_run_counts_as_chance() -> None:
    said = words.verdict(made.record(SCORES | {"near": [None, *less(0.001, 0.003)[1:]]}))
    assert "Of 5 runs of NEAR, 1 diverged: diverged runs count as chance in its score." in said
    assert "`near` (−16." in said


def test_why_recovery_cannot_be_read() -> None:
    close = words.verdict(made.record(SCORES | {"frozen": less(0.002, 0.004)}))
    assert "Recovery is not reported: the 95% intervals of backprop and frozen overlap" in close
    alone = words.verdict(made.record({"far": SCORES["far"], "frozen": SCORES["frozen"]}))
    assert "Recovery is not reported: there is no score of backprop." in alone
    assert "`far` (by 20.0 ± 0.2 points) beats `frozen`." in alone
    assert "At 95%, the only pair differs significantly" in alone


def test_two_lower_controls_are_two() -> None:
    said = words.verdict(made.record(SCORES | {"linear": [0.7] * 5}))
    assert "Recovery is relative to linear, the stronger lower control." in said
    assert "beat `linear`" in said


def test_how_a_record_was_made() -> None:
    old = words.made(made.record(SCORES))
    assert old.startswith(
        "**Made by a version without the search and without a linear control.** Each rule tried"
    )
    assert "learning rates 0.01, 0.1 and 1 for 4 epochs. Seeds: 0, 1, 2, 3, 4." in old
    assert "†" not in old
    new = made.record(SCORES, {name: made.search(edge=name == "far") for name in SCORES})
    for run in new["runs"]:
        run["head"] = {"converged": True} if run["rule"]["name"] == "frozen" else None
    said = words.made(new)
    assert said.startswith("Each rule searched its learning rate in trials of 1 and 4 epochs, with")
    assert "as much compute as 10 of backprop's longest trials. Seeds: 0, 1, 2, 3, 4." in said
    assert "The last layer of frozen is solved to convergence. Chance is 10.0%" in said
    assert "†: " in said


def test_searches_without_trials_or_counts_are_told() -> None:
    dear = made.search(edge=True) | {"trials": 0, "counted": False}
    said = words.made(made.record(SCORES, {"far": dear, "near": made.search()}))
    assert "The budget allowed no trial of far, so the middle of the grid was used." in said
    assert "The operations of a step by far cannot be counted, so in the search it" in said


def test_runs_at_an_absurd_loss_are_named() -> None:
    record = made.record(SCORES)
    record["runs"][5]["curve"][1]["validation_loss"] = 4e22
    assert record["runs"][5]["rule"]["name"] == "far"
    assert words.made(record).endswith("now counts as diverged: far (1 run).")


def test_which_tasks_of_a_rules_page_are_old() -> None:
    new = made.record(SCORES, {})
    said = words.ages({"old": made.record(SCORES), "new": new}, "far")
    assert "Made by a version without the search and without a linear control: `old`." in said
    assert "all." in words.ages({"old": made.record(SCORES)}, "far")
    assert "Made before" not in words.ages({"new": new}, "far")
