"""What pages say of records in words."""

import json
from pathlib import Path
from statistics import mean, stdev

RESULTS = Path(__file__).parents[3] / "results" / "comparisons"


def scores(name: str) -> dict[str, list[float]]:
    """Return each rule's test scores in the order of seeds."""
    found: dict[str, list[float]] = {}
    for run in json.loads((RESULTS / f"{name}.json").read_text())["runs"]:
        found.setdefault(run["spec"]["rule"], []).append(run["test"]["score"])
    return found


def interval(a: list[float], b: list[float]) -> tuple[float, float]:
    """Return the paired 95% interval of a's mean lead over b."""
    differences = [x - y for x, y in zip(a, b, strict=True)]
    assert len(differences) == 3
    margin = 4.302653 * stdev(differences) / 3**0.5  # Student's t, two degrees of freedom
    return mean(differences) - margin, mean(differences) + margin


def test_all_are_near_backprop_on_mnist() -> None:
    found = scores("mnist-mlp-states")
    means = {rule: mean(each) for rule, each in found.items()}
    for rule in ("pc", "epc", "dtp", "dualprop"):
        assert means["backprop"] - means[rule] < 0.003
        assert interval(found[rule], found["frozen"])[0] > 0.04
    low, high = interval(found["dualprop"], found["backprop"])
    assert low < 0 < high
    assert all(interval(found[rule], found["backprop"])[1] < 0 for rule in ("pc", "epc", "dtp"))


def test_what_the_page_of_epc_says() -> None:
    mnist, digits = scores("mnist-mlp-states"), scores("digits-mlp-states")
    means = {rule: mean(each) for rule, each in mnist.items()}
    assert means["backprop"] - 0.002 < means["epc"]
    assert means["pc"] < means["epc"]
    low, high = interval(digits["epc"], digits["frozen"])
    assert low < 0 < high
    rows = json.loads((RESULTS / "mnist-mlp-states.json").read_text())["rows"]
    seconds = {row["rule"]: row["step_seconds"] for row in rows}
    assert seconds["epc"] < 0.55 * seconds["pc"]


def by_rule(name: str) -> dict[str, list[float]]:
    """Return each rule's test scores, whatever its arguments, in the order of seeds."""
    found: dict[str, list[float]] = {}
    for run in json.loads((RESULTS / f"{name}.json").read_text())["runs"]:
        found.setdefault(run["rule"]["settings"]["rule"], []).append(run["test"]["score"])
    return found


def test_softhebb_and_frozen_features_are_alike_on_mnist() -> None:
    found = by_rule("mnist-softhebb")
    low, high = interval(found["softhebb"], found["frozen"])
    assert (round(100 * low, 1), round(100 * high, 1)) == (-0.3, 0.3)


def test_softhebb_is_above_frozen_features_on_cifar() -> None:
    found = by_rule("cifar-softhebb")
    low, high = interval(found["softhebb"], found["frozen"])
    assert (round(100 * low, 1), round(100 * high, 1)) == (5.4, 5.7)
    assert round(100 * (mean(found["softhebb"]) - mean(found["frozen"])), 1) == 5.5
