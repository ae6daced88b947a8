"""What was claimed for learning without backprop, beside what the records here show.

Each function returns one paragraph, made from records alone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.common.tables import percent

Load = Callable[[str], dict[str, Any]]
"""Returns a record by its name."""

NET = "mlp-8x1024"
"""The network whose step is quoted."""
CONVNET = "cifar-conv"


def random_feedback(load: Load, networks: Mapping[str, str]) -> str:
    """Return on which networks direct feedback recovers what backprop gains.

    Args:
        load: Reads a record.
        networks: The names of comparisons, by what they are called.
    """
    found: dict[str, list[str]] = {"most": [], "some": [], "none": [], "unread": []}
    for called, name in networks.items():
        for row in load(f"comparisons/{name}")["rows"]:
            if row["rule"] == "dfa":
                found[_recovered(row)].append(called)
    said = (
        ("more than half of what backprop gains over the better baseline", "most"),
        ("some of it", "some"),
        ("not told from the better baseline, or below it", "none"),
        ("recovery cannot be read, as backprop is not told from a baseline", "unread"),
    )
    parts = [f"- {words}: {'; '.join(found[key])}" for words, key in said if found[key]]
    return "\n".join(
        ("What direct feedback alignment recovers, by whole 95% intervals:", "", *parts)
    )


def _recovered(row: Mapping[str, Any]) -> str:
    """Return how much a rule recovers, by the whole interval."""
    interval = row.get("recovery_interval")
    if interval is None or row["recovery"] is None:
        return "unread"
    low, high = interval
    if low > 0.5:
        return "most"
    return "some" if low > 0 and high > 0 else "none"


def parallel_backward(load: Load) -> str:
    """Return what direct feedback saves of a step, and what two processes gain."""
    (step,) = (
        row for row in load("step_time/rules")["rows"] if row["net"] == NET and row["rule"] == "dfa"
    )
    piped = [row for row in load("schedules/pipeline")["rows"] if row["net"] == NET]
    best = {way: max(_of(piped, way)) for way in ("dfa", "dgl", "backprop, 1F1B")}
    return (
        f"On one device a step of direct feedback alignment on `{NET}` takes {step['ratio']:.2f} "
        f"of backprop's time, and none can take less than {step['flop_limit']:.2f} of its "
        "operations: the forward pass and the gradients of the weights remain. Two "
        f"processes in a pipeline reach {best['dfa']:.2f} times the speed of one with direct "
        f"feedback alignment, {best['dgl']:.2f} times with a local loss, "
        f"{best['backprop, 1F1B']:.2f} times with backprop's own pipeline (1F1B)."
    )


def _of(rows: Sequence[Mapping[str, Any]], way: str) -> list[float]:
    """Return the gains of a way to train."""
    return [row["ratio"] for row in rows if row["training"] == way]


def light(load: Load) -> str:
    """Return what a step by light would take, in time and energy."""
    rows = [row for row in load("optics/cost")["rows"] if row["part"] == "size"]
    share = {key: [_light_share(row, key) for row in rows] for key in ("seconds", "joules")}
    structured = sum(row["hadamard_seconds"] < row["light_seconds"] for row in rows)
    dense = min(row["light_seconds"] / row["dense_seconds"] for row in rows)
    return (
        f"By the cost model, a projection by light takes as little as {dense:.1g} of the time of a "
        f"dense product. A whole step with it takes {min(share['seconds']):.2f} of the time at "
        f"best ({max(share['seconds']):.0f} times as long at worst), and "
        f"{min(share['joules']):.2f} of the energy at best, because the rest of the step stays "
        f"electronic. A structured projection on the processor is faster than light in "
        f"{structured} of {len(rows)} cases."
    )


def _light_share(row: Mapping[str, Any], key: str) -> float:
    """Return what a step by light takes of one with a dense product."""
    spent: Mapping[str, float] = row[f"step_{key}"]
    return spent["light"] / spent["dense"]


def eight_values(load: Load) -> str:
    """Return what a choice among eight fixed values reaches beside learned weights."""
    parts = []
    for name, called in (("mnist", "MNIST"), ("cifar", "CIFAR-10")):
        rows = {row["variant"]: row for row in load(f"slots/accuracy-{name}")["rows"]}
        learned = [row for way, row in rows.items() if way.startswith("learned")]
        best = max(learned, key=lambda row: row["test_accuracy"])
        parts.append(
            f"on {called} {_score(rows['K=8'])} with eight values, {_score(best)} with learned "
            f"weights, {_score(rows['frozen'])} with frozen ones"
        )
    return f"{_capital('; '.join(parts))} (standard deviation over 3 seeds)."


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
    """Return what is forgotten of tasks in turn."""
    rows = [row for row in load("slots/continual")["rows"] if row["scenario"] == "permuted"]
    bank, shared, alone = (
        next(row for row in rows if row["way"].startswith(way))
        for way in ("bank", "learned weights, in turn", "learned weights, a network each")
    )
    return (
        f"On {len(bank['runs'][0]['final'])} permuted MNIST tasks a bank of slot machines forgets "
        f"{bank['forgetting']:.0%} and ends at {bank['final_mean']:.1%}; one network that learns "
        f"the tasks in turn ends at {shared['final_mean']:.1%}, a network for each task at "
        f"{alone['final_mean']:.1%}. The bank takes {bank['bits']} bits a weight and task, the "
        f"networks {alone['bits']}."
    )


def convolutions(load: Load) -> str:
    """Return which rules teach convolutions."""
    rows = {row["rule"]: row for row in load(f"comparisons/{CONVNET}")["rows"]}
    floor = max(rows["frozen"]["score_mean"], rows["linear"]["score_mean"])
    taught = [rule for rule in ("kp", "wm", "usf", "dgl") if rows[rule]["recovery_interval"][0] > 0]
    failed = [rule for rule in ("fa", "dfa") if rows[rule]["score_interval"][1] < floor]
    return (
        f"On CIFAR-10 with LeNet, {_code(failed)} end below the better baseline ({floor:.1%}), "
        f"backprop at {rows['backprop']['score_mean']:.1%}. Rules whose feedback follows the "
        f"weights, and local losses, are above it: {_code(taught)}."
    )


def pieces(load: Load) -> str:
    """Return what pieces take to reach the score of end-to-end distillation."""
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
}
"""By the name of a claim, what records say of it."""
