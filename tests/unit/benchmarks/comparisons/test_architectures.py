"""The table over kinds of networks, from records with chosen scores."""

from benchmarks.comparisons import architectures
from tests.unit.benchmarks.comparisons import made

SCORES = {
    "backprop": [0.90, 0.91, 0.92],
    "dfa": [0.60, 0.61, 0.62],
    "fa": [0.80, 0.81, 0.82],
    "kp": [0.85, 0.86, 0.87],
    "frozen": [0.70, 0.71, 0.72],
    "linear": [0.50, 0.50, 0.50],
}


def cell(head: str, row: list[str]) -> str:
    return row[list(architectures.HEADS).index(head)]


def test_a_row_has_the_best_other_rule_and_the_controls() -> None:
    heads, (row,) = architectures.table({"GCN": made.record(SCORES)}, {})
    assert len(heads) == len(row)
    assert cell("network", list(row)) == "GCN"
    assert cell("backprop", list(row)).startswith("91.0%")
    assert cell("DFA", list(row)).startswith("61.0%")
    assert cell("best other rule", list(row)).startswith("kp 86.0%")
    assert cell("frozen", list(row)).startswith("71.0%")
    assert cell("linear", list(row)).startswith("50.0%")
    assert row[4].startswith("−50%")
    assert row[6].startswith("75%")


def test_the_best_other_rule_is_chosen_by_validation() -> None:
    record = made.record(SCORES)
    for run in record["runs"]:
        if run["rule"]["name"] == "fa":
            run["curve"][-1]["validation_score"] = 0.95
    _, (row,) = architectures.table({"GCN": record}, {})
    assert cell("best other rule", list(row)).startswith("fa 81.0%")


def test_a_rule_whose_runs_diverged_counts_as_chance() -> None:
    scores = SCORES | {"kp": [0.99, None, None]}
    _, (row,) = architectures.table({"GCN": made.record(scores)}, {})
    assert cell("best other rule", list(row)).startswith("fa 81.0%")


def test_a_factorisation_machine_alone_has_its_column() -> None:
    machine = made.record({"backprop": [0.75, 0.76, 0.77], "frozen": [0.5, 0.51, 0.52]})
    _, (row,) = architectures.table({"DCN": made.record(SCORES)}, {"DCN": machine})
    assert cell("FM alone", list(row)).startswith("76.0%")
    assert cell("linear", list(row)).startswith("50.0%")


def test_a_network_without_dfa_or_other_rules_has_dashes() -> None:
    few = {rule: SCORES[rule] for rule in ("backprop", "frozen")}
    _, (row,) = architectures.table({"GCN": made.record(few)}, {})
    assert [row[i] for i in (3, 4, 5, 6)] == ["–"] * 4


def test_rules_below_frozen_are_named_first() -> None:
    told = architectures.below_frozen({"GCN": made.record(SCORES)})
    assert told == "Significantly below frozen hidden layers: on GCN `dfa`."
    above = {rule: scores for rule, scores in SCORES.items() if rule != "dfa"}
    assert architectures.below_frozen({"GCN": made.record(above)}).startswith(
        "No rule is significantly"
    )


def test_a_rule_that_is_not_told_from_frozen_is_not_below_it() -> None:
    close = SCORES | {"dfa": [0.69, 0.75, 0.60]}
    told = architectures.below_frozen({"GCN": made.record(close)})
    assert told.startswith("No rule is significantly")
    assert told.endswith("Below in the mean, but not significantly: on GCN `dfa`.")
