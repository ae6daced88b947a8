"""Claims for learning without backprop, compared with the records here.

Each function returns one paragraph, made only from records.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.audit.tables import interval
from benchmarks.common.tables import percent
from benchmarks.common.wording import current

Load = Callable[[str], dict[str, Any]]
"""Returns a record by its name."""

NET = "mlp-8x1024"
"""The network whose step time is quoted."""
CONVNETS = {
    "cifar-conv-sgd": "stochastic gradient descent",
    "cifar-conv-adam": "Adam",
}
"""The comparisons on convolutions, by the optimizer of all rules."""


def random_feedback(load: Load, networks: Mapping[str, str]) -> str:
    """Return on which networks direct feedback recovers backprop's gain.

    Args:
        load: Reads a record.
        networks: The names of comparisons by the names of their networks.
    """
    found: dict[str, list[str]] = {}
    for called, name in networks.items():
        for row in load(f"comparisons/{name}")["rows"]:
            if row["rule"] == "dfa":
                found.setdefault(_recovered(row), []).append(called)
    return "\n".join(
        (
            "Recovery of direct feedback alignment, by its 95% interval:",
            "",
            *(f"- {words}: {'; '.join(found[words])}" for words in sorted(found, key=_place)),
        )
    )


MOST = "more than half of backprop's gain over the better baseline"
SOME = "some of the gain"
NONE = "no significant gain over the better baseline"
ORDER = (MOST, SOME, NONE)


def _place(words: str) -> tuple[int, str]:
    """Return the order of a group: groups without a readable interval come last."""
    return (ORDER.index(words) if words in ORDER else len(ORDER)), words


def _recovered(row: Mapping[str, Any]) -> str:
    """Return how much a rule recovers, by its full interval, or why that is unknown."""
    if row["finished"] < row["runs"]:
        return f"diverged or failed in {row['runs'] - row['finished']} of {row['runs']} runs"
    interval = row.get("recovery_interval")
    if interval is None or row["recovery"] is None:
        reason = row.get("recovery_reason") or "no interval is recorded"
        return f"not reported, because {current(reason)}"
    low, high = interval
    if low > 0.5:
        return MOST
    return SOME if low > 0 and high > 0 else NONE


def parallel_backward(load: Load) -> str:
    """Return the time that direct feedback saves in a step, and the gain of two processes."""
    (step,) = (
        row for row in load("step_time/rules")["rows"] if row["net"] == NET and row["rule"] == "dfa"
    )
    piped = [row for row in load("schedules/pipeline")["rows"] if row["net"] == NET]
    best = {way: max(_of(piped, way)) for way in ("dfa", "dgl", "backprop, 1F1B")}
    return (
        f"On one device, a step of direct feedback alignment on `{NET}` takes {step['ratio']:.2f} "
        f"of backprop's time. Its lower bound is {step['flop_limit']:.2f} of backprop's "
        "operations, because the forward pass and the gradients of the weights remain. With the "
        "best number of micro-batches, a pipeline of two processes reaches "
        f"{best['dfa']:.2f} times the speed of one process with direct feedback alignment, "
        f"{best['dgl']:.2f} times with a local loss and "
        f"{best['backprop, 1F1B']:.2f} times with backprop's own pipeline schedule (1F1B, one "
        "forward, one backward)."
    )


def _of(rows: Sequence[Mapping[str, Any]], way: str) -> list[float]:
    """Return the gains of a way to train."""
    return [row["ratio"] for row in rows if row["training"] == way]


def light(load: Load) -> str:
    """Return the time and the energy of a step by light."""
    rows = [row for row in load("optics/cost")["rows"] if row["part"] == "size"]
    share = {key: [_light_share(row, key) for row in rows] for key in ("seconds", "joules")}
    structured = sum(row["hadamard_seconds"] < row["light_seconds"] for row in rows)
    dense = min(row["light_seconds"] / row["dense_seconds"] for row in rows)
    return (
        f"By the cost model, an optical projection takes as little as {dense:.1g} of the time of a "
        f"dense product. A whole step with it takes {min(share['seconds']):.2f} of the time at "
        f"best ({max(share['seconds']):.0f} times as long at worst), and "
        f"{min(share['joules']):.2f} of the energy at best, because the rest of the step stays "
        f"electronic. A structured projection on the processor is faster than light in "
        f"{structured} of {len(rows)} cases."
    )


def _light_share(row: Mapping[str, Any], key: str) -> float:
    """Return the cost of a step by light, relative to one with a dense product."""
    spent: Mapping[str, float] = row[f"step_{key}"]
    return spent["light"] / spent["dense"]


def eight_values(load: Load) -> str:
    """Return the accuracy of a choice among eight fixed values, compared with learned weights."""
    parts = []
    for name, called in (("mnist", "MNIST"), ("cifar", "CIFAR-10")):
        rows = {row["variant"]: row for row in load(f"slots/accuracy-{name}")["rows"]}
        learned = [
            f"{_score(row)} ({row['rate']:g})"
            for way, row in rows.items()
            if way.startswith("learned")
        ]
        parts.append(
            f"on {called} {_score(rows['K=8'])} with eight values, {_listed(learned)} with learned "
            f"weights (by learning rate), {_score(rows['frozen'])} with frozen ones"
        )
        seeds = len(rows["K=8"]["seeds"])
    return f"{_capital('; '.join(parts))} (standard deviation over {seeds} seeds)."


def _score(row: Mapping[str, Any]) -> str:
    return percent(row["test_accuracy"], row["deviation"])


def memory(load: Load) -> str:
    """Return how memory grows with depth."""
    rows = {(row["way"], row["depth"]): row for row in load("memory/depth")["rows"]}
    depths = sorted({depth for _, depth in rows})
    few, many = depths[0], depths[-1]
    own, full = "dgl, immediate", "backprop"
    size = {key: row["bytes"] / 1e6 for key, row in rows.items()}
    return (
        f"From {few} to {many} layers, the peak memory of a step grows from {size[full, few]:.0f} "
        f"to {size[full, many]:.0f} MB under backprop, and from {size[own, few]:.0f} to "
        f"{size[own, many]:.0f} MB under a local loss that learns inside the forward pass, in "
        f"{rows[own, many]['time_ratio']:.2f} of the time of {many} layers. Direct feedback "
        "alignment alone saves no memory: it keeps all activations."
    )


def forgetting(load: Load) -> str:
    """Return the forgetting of tasks that are learned one after another."""
    rows = [row for row in load("slots/continual")["rows"] if row["scenario"] == "permuted"]
    bank, shared, alone = (
        next(row for row in rows if row["way"].startswith(way))
        for way in ("bank", "learned weights, in turn", "learned weights, a network each")
    )
    return (
        f"On {len(bank['runs'][0]['final'])} permuted MNIST tasks, a bank of slot machines forgets "
        f"{bank['forgetting']:.0%} and ends at {bank['final_mean']:.1%}; one network that learns "
        f"the tasks in turn ends at {shared['final_mean']:.1%}, a network for each task at "
        f"{alone['final_mean']:.1%}. The bank takes {bank['bits']} bits per weight and task, a "
        f"network for each task {alone['bits']}."
    )


def convolutions(load: Load) -> str:
    """Return which rules teach convolutions, with either optimizer."""
    return " ".join(_convolutions(load, name) for name in CONVNETS)


def _convolutions(load: Load, name: str) -> str:
    record = load(f"comparisons/{name}")
    rows = {row["rule"]: row for row in record["rows"]}
    floor = max(rows["frozen"]["score_mean"], rows["linear"]["score_mean"])
    random = [_on_convolutions(rows[rule]) for rule in ("fa", "dfa")]
    taught = [rule for rule in ("kp", "wm", "usf", "dgl") if rows[rule]["recovery_interval"][0] > 0]
    return (
        f"On CIFAR-10 with LeNet by {CONVNETS[name]}, where the better baseline reaches "
        f"{floor:.1%} and backprop {rows['backprop']['score_mean']:.1%}, {_listed(random)}. "
        f"Above the baseline: {_code(taught)}."
    )


def _on_convolutions(row: Mapping[str, Any]) -> str:
    """Return the score of a rule with random feedback, compared with the better baseline."""
    rule, lost = f"`{row['rule']}`", row["runs"] - row["finished"]
    if lost:
        return f"{rule} diverges in {lost} of {row['runs']} runs"
    low, high = row["recovery_interval"]
    where = (
        "is below" if high < 0 else "is above" if low > 0 else "is not significantly different from"
    )
    return f"{rule} {where} it ({row['score_mean']:.1%})"


def pieces(load: Load) -> str:
    """Return the time of pieces until the score of end-to-end distillation."""
    rows = load("neighbourhoods/wall_time")["rows"]
    way = "end to end, whole"
    there = sum(_best(row) >= row["scores"][way] for row in rows)
    whole = [row["seconds"][way] for row in rows]
    own = [row["seconds"]["library, 1"] + row["seconds"]["healed"] for row in rows]
    less = [row["scores"][way] - _best(row) for row in rows]
    return (
        f"With equal total computation, pieces of a convolutional network on Fashion-MNIST reach "
        f"the score of end-to-end distillation in {there} of {len(rows)} seeds. They take "
        f"{min(own):.0f} to {max(own):.0f} s on one worker, end-to-end distillation "
        f"{min(whole):.0f} to {max(whole):.0f} s. Their accuracy differs by "
        f"{-100 * max(less):+.1f} to {-100 * min(less):+.1f} points."
    )


def local_minima(load: Load) -> str:
    """Return from how many starts each rule reaches a known minimum."""
    rows = load("audit/minima")["rows"]
    problems = dict.fromkeys(row["problem"] for row in rows)
    return " ".join(
        _reached([row for row in rows if row["problem"] == problem]) for problem in problems
    )


def _reached(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return from how many starts each rule reaches the minimum of one problem."""
    found = {row["way"]: row["share"] for row in rows}
    backprop, starts = found.pop("backprop"), len(rows[0]["losses"])
    listed = _listed([f"{share:.0%} (`{way}`)" for way, share in found.items()])
    more = [way for way, share in found.items() if share > backprop]
    return (
        f"On the problem *{rows[0]['problem']}*, backprop reaches the global minimum from "
        f"{backprop:.0%} of {starts} starts, the others from {listed}. "
        + (f"From more starts than backprop: {_code(more)}." if more else "None exceeds backprop.")
    )


def robustness(load: Load) -> str:
    """Return the accuracy under attack through each rule's graph, and by exact gradients."""
    rows = load("audit/through_feedback")["rows"]
    rules, seeds = dict.fromkeys(row["rule"] for row in rows), {row["seed"] for row in rows}
    told = [_withstood(rule, [row for row in rows if row["rule"] == rule]) for rule in rules]
    return (
        "On CIFAR-10 images, each value changed by at most 8/255, the share of test samples that "
        f"the same weights classify correctly is (mean over {len(seeds)} seeds, ± half of the 95% "
        f"interval): {'; '.join(told)}."
    )


def _withstood(rule: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the accuracy of one rule's weights in three cases."""
    plain, exact = (interval([row["exact"][place] for row in rows]) for place in (0, -1))
    through = interval([row["through"][-1] for row in rows])
    return (
        f"`{rule}` {through}% under an attack through its own graph, {exact}% under exact "
        f"gradients ({plain}% without an attack)"
    )


def _best(row: Mapping[str, Any]) -> float:
    """Return the better score of merged and healed pieces."""
    return float(max(row["scores"]["merged"], row["scores"]["healed"]))


def _code(names: Sequence[str]) -> str:
    return _listed([f"`{name}`" for name in names])


def _listed(names: Sequence[str]) -> str:
    """Return names with commas, and an 'and' before the last."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


CLAIMS: dict[str, Callable[[Load], str]] = {
    "parallel-backward": parallel_backward,
    "light": light,
    "eight-values": eight_values,
    "memory": memory,
    "forgetting": forgetting,
    "convolutions": convolutions,
    "pieces": pieces,
    "local-minima": local_minima,
    "robustness": robustness,
}
"""The functions for claims by the claim's name."""
