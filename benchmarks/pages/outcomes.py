"""The benefit for four kinds of users, each with a figure from a record."""

from collections.abc import Callable
from typing import Any

from benchmarks.common.tables import Cells, percent

Load = Callable[[str], dict[str, Any]]
"""Returns a record by its name."""


def outcomes(load: Load) -> Cells:
    """Return one row per kind of user: its goal, the tool for it, and the measured result."""
    found = (
        ("study learning without backprop", *research(load)),
        ("train models that do not fit into memory", *memory(load)),
        ("build optical or analog hardware", *light(load)),
        ("learn tasks in sequence without forgetting", *tasks(load)),
    )
    return ("you want to", "use", "measured"), [list(row) for row in found]


def research(load: Load) -> tuple[str, str]:
    """Return the recovery of direct feedback alignment where depth helps."""
    rows = {row["rule"]: row for row in load("comparisons/fashion-small")["rows"]}
    low, high = rows["dfa"]["recovery_interval"]
    return "[rules](docs/index.md#the-rules), `compare`", (
        f"direct feedback alignment recovers {rows['dfa']['recovery']:.0%} ({low:.0%} to "
        f"{high:.0%}) of what backprop gains over random layers, on small Fashion-MNIST"
    )


def memory(load: Load) -> tuple[str, str]:
    """Return how memory grows with depth under a local loss and under backprop."""
    rows = load("memory/depth")["rows"]
    deep = max(row["depth"] for row in rows)
    found = {row["way"]: row for row in rows if row["depth"] == deep}
    own, other = (found[way]["bytes"] / 1e6 for way in ("dgl, immediate", "backprop"))
    return "[`Immediate`](docs/schedules.md), local losses", (
        f"{own:.0f} MB for a step of {deep} layers instead of backprop's {other:.0f} MB, in "
        f"{found['dgl, immediate']['time_ratio']:.2f} of its time"
    )


def light(load: Load) -> tuple[str, str]:
    """Return the loss of accuracy by simulated optical feedback."""
    rows = [row for row in load("optics/accuracy")["rows"] if row["data_set"] == "mnist"]
    found = {row["way"]: row for row in rows}
    opu, exact = found["lighton-opu"], found["exact"]
    return "[`beyondprop.optics`](docs/optics.md)", (
        f"{percent(opu['test'], opu['deviation'])} on MNIST through a simulated co-processor, "
        f"{percent(exact['test'], exact['deviation'])} with exact random feedback (standard "
        f"deviation over {len(opu['seeds'])} seeds)"
    )


def tasks(load: Load) -> tuple[str, str]:
    """Return the forgetting of a bank of selections on tasks that are learned one after another."""
    rows = load("slots/continual")["rows"]
    (bank,) = (
        row for row in rows if row["scenario"] == "permuted" and row["way"].startswith("bank")
    )
    count = len(bank["runs"][0]["final"])
    return "[slot machines](docs/slots.md)", (
        f"{percent(bank['final_mean'], bank['final_std'])} on {count} permuted MNIST tasks "
        f"(standard deviation over {len(bank['runs'])} seeds), {bank['forgetting']:.2%} forgotten, "
        f"{bank['bits']} bits per weight and task"
    )
