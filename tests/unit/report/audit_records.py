"""Synthetic records of audits: believable figures, none measured."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from report_records import DIGITS, provenance, task

from beyondprop.audit import SECTIONS

RULES = ("backprop", "fa", "dfa", "frozen")
GROUPS = {"gender": ("female", "male"), "race": ("white", "black", "other")}
QUESTIONS = {"fairness": "Whom does it treat worse?"}
STEPS = [0.0, 0.25, 0.5, 0.75, 1.0]


def audit(
    rules: Sequence[str] = RULES,
    seeds: Sequence[int] = (0, 1, 2),
    sections: Sequence[str] = (
        *("forgetting", "robustness", "explanations", "fairness", "minima", "calibration"),
    ),
    ends: dict[str, float] | None = None,
    noise: float = 0.01,
    image: bool = True,
    masked: str = "dfa",
) -> dict[str, Any]:
    """Return a record.

    Args:
        rules: Audited.
        seeds: Of each of them.
        sections: That ask.
        ends: How good rules are that aren't to have 0.8, from 0 to 1; all figures follow it.
        noise: Standard deviation of figures between seeds.
        image: Whether samples are images.
        masked: The rule whose gradients mask.
    """
    runs = [
        of_run(rule, seed, sections, (ends or {}).get(rule, 0.8), noise, image, masked)
        for rule in rules
        for seed in seeds
    ]
    return {
        "schema": 1,
        "kind": "audit",
        "spec": {"sections": list(sections), "threads": 1, "data": None, "runs": {}},
        "task": task(),
        "sections": {name: section(name) for name in sections},
        "runs": runs,
        "beside": beside(runs, sections),
        "provenance": provenance() | {"command": "beyondprop audit runs/compared"},
    }


def section(name: str) -> dict[str, Any]:
    made = SECTIONS.make(name) if name in SECTIONS else None
    columns = [] if made is None else made.columns
    return {
        "question": QUESTIONS.get(name, "" if made is None else made.question),
        "columns": [
            {"key": c.key, "label": c.label, "meaning": c.meaning, "form": c.form} for c in columns
        ],
    }


def of_run(
    rule: str,
    seed: int,
    sections: Sequence[str],
    end: float,
    noise: float,
    image: bool,
    masked: str,
) -> dict[str, Any]:
    draw = random.Random(f"{rule} {seed}")
    good = min(1.0, max(0.0, end + draw.gauss(0, noise)))
    made: dict[str, Callable[[], dict[str, Any]]] = {
        "forgetting": lambda: forgetting(good, draw),
        "robustness": lambda: robustness(good, rule == masked, image),
        "explanations": lambda: explanations(good, image, draw),
        "fairness": lambda: fairness(good, draw),
        "minima": lambda: minima(good, draw),
        "calibration": lambda: calibration(good),
    }
    return {
        "rule": rule,
        "seed": seed,
        "weights_sha256": f"{seed}{rule}".encode().hex().ljust(64, "0"),
        "score": 0.9 * good,
        "answers": {name: made[name]() for name in sections},
    }


def forgetting(good: float, draw: random.Random) -> dict[str, Any]:
    rows = [
        [0.9 if j == i else 0.5 * good * draw.random() if j < i else 0.0 for j in range(5)]
        for i in range(5)
    ]
    average = sum(rows[-1]) / 5
    return {
        "stream": "split digits, class-incremental",
        "experiences": [f"{2 * i}, {2 * i + 1}" for i in range(5)],
        "before": [0.1] * 5,
        "rows": rows,
        "average": average,
        "learned": 0.9,
        "forgetting": 1 - good,
        "backward_transfer": -0.5,
        "forward_transfer": 0.0,
        "floor": 0.18,
        "ceiling": 0.9,
        "verdict": f"It keeps {average:.3f}",
    }


def accuracy(value: float) -> dict[str, Any]:
    value = min(1.0, max(0.0, value))
    return {"accuracy": value, "interval": [max(0.0, value - 0.04), min(1.0, value + 0.04)]}


def robustness(good: float, masked: bool, image: bool) -> dict[str, Any]:
    epsilons = [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3]
    kinds = {"Gaussian noise": "share", "blur": "share", "contrast": "share", "JPEG": "quality"}
    if not image:
        kinds = {"noise": "standard deviations of the column", "feature dropout": "share"}
    curve = [
        {"epsilon": e, **accuracy(good * math.exp(-e * (4 if masked else 12)))} for e in epsilons
    ]
    at = good * math.exp(-1.2)
    attacks = {"PGD": curve[4]["accuracy"], "Square": at + 0.03, "AutoAttack": at}
    return {
        "samples": 500,
        "beyond_range": 0,
        "clean": curve[0],
        "curve": curve,
        "epsilon": 0.1,
        "attacks": [{"name": name, **accuracy(value)} for name, value in attacks.items()],
        "masking": {"masked": masked, "without": 40 * masked, "by_gradients": 1, "p": 0.5},
        "corruptions": [
            {
                "name": name,
                "unit": unit,
                "strengths": [
                    {"strength": 0.1 * (i + 1), **accuracy(good - 0.1 * i)} for i in range(3)
                ],
            }
            for name, unit in kinds.items()
        ],
        "withstood": at,
        "corrupted": good - 0.1,
        "verdict": f"It withstands {at:.3f}",
    }


def mean(value: float) -> dict[str, Any]:
    return {"mean": value, "interval": [value - 0.05, value + 0.05]}


def explanations(good: float, image: bool, draw: random.Random) -> dict[str, Any]:
    falls = [0.9 * (1 - x) ** (1 + 6 * good) + 0.05 for x in STEPS]
    random_falls = [0.9 * (1 - x) + 0.05 for x in STEPS]
    curves = {
        name: {
            "deletion": {**mean(0.3), "curve": line},
            "insertion": {**mean(0.6), "curve": [1 - each for each in line]},
            "infidelity": mean(0.1),
        }
        for name, line in (("integrated gradients", falls), ("random", random_falls))
    }
    names = [f"row {i // 4 + 1}, column {i % 4 + 1}" for i in range(16)]
    if not image:
        names = [f"feature {i}" for i in range(13)] + ["features 13 to 20", "the 40 others"]
    return {
        "samples": 100,
        "right": 0.9,
        "completeness": {"tolerance": 0.01, "held": 1.0, "mean": 0.0, "worst": 0.0, "steps": {}},
        "attribution": curves,
        "better_than_random": {"integrated gradients": {"deletion": mean(0.4 * good)}},
        "interactions": {
            "samples": 16,
            "players": len(names),
            "from_pairs": mean(0.3),
            "redundant": 0.5,
            "named": names,
            "shown": [sample(row, names, image, draw) for row in (3, 44, 173, 200)],
        },
        "verdict": "Its explanations are faithful",
    }


def sample(row: int, names: Sequence[str], image: bool, draw: random.Random) -> dict[str, Any]:
    single = [draw.gauss(0, 1) for _ in names]
    pairs = [
        {
            "of": [names[i], names[j]],
            "players": [i, j],
            "effect": draw.gauss(0, 0.4),
        }
        for i, j in [draw.sample(range(len(names)), 2) for _ in range(5)]
    ]
    most = [{"of": [names[i]], "players": [i], "effect": single[i]} for i in range(4)]
    made = {
        "row": row,
        "answer": DIGITS[draw.randrange(10)],
        "class": DIGITS[row % 10],
        "whole": 3.0,
        "from_single": 2.0,
        "from_pairs": 1.0,
        "most": [*most, pairs[0]],
        "most_pairs": pairs,
        "single": single,
        "pairs": [0.1] * (len(names) * (len(names) - 1) // 2),
    }
    if image:
        pixels = [math.exp(-((i % 14 - 7) ** 2) / 9) for i in range(196)]
        made["picture"] = {"shape": [14, 14], "values": pixels}
        made["map"] = {"shape": [14, 14], "values": [each * draw.gauss(0, 1) for each in pixels]}
    return made


def fairness(good: float, draw: random.Random) -> dict[str, Any]:
    return {
        "favourable": ">50K",
        "samples": 9000,
        "level": 0.95,
        "least": 30,
        "attributes": {name: attribute(name, good, draw) for name in GROUPS},
        "verdict": "By gender, the group female fares worst",
    }


def attribute(name: str, good: float, draw: random.Random) -> dict[str, Any]:
    groups = []
    for place, group in enumerate(GROUPS[name]):
        rates = {
            "base_rate": 0.2,
            "selection_rate": 0.1 + 0.1 * place + 0.02 * draw.random(),
            "accuracy": 0.7 + 0.2 * good,
            "true_positive_rate": 0.4 + 0.1 * place,
            "false_positive_rate": 0.05 + 0.02 * place,
            "mean_probability": 0.2,
            "calibration_error": 0.02,
        }
        spans: dict[str, Any] = {key: [max(0, v - 0.03), v + 0.03] for key, v in rates.items()}
        groups.append({"group": group, "samples": 500, **rates, "intervals": spans})
    groups.append({"group": "few", "samples": 3, **dict.fromkeys(rates, None), "intervals": {}})
    apart = {"value": 0.3 - 0.2 * good, "low": 0.05, "high": 0.4, "by_chance": 0.03, "p": 0.001}
    return {
        "groups": groups,
        "left_out": [{"group": "few", "samples": 3}],
        "differences": {
            "demographic_parity_difference": apart,
            "equalized_odds_difference": {**apart, "value": 0.1},
            "accuracy_difference": {**apart, "value": None, "low": None, "high": None},
        },
        "in_data": 0.19,
        "worst": {"selection_rate": GROUPS[name][0], "accuracy": GROUPS[name][0]},
    }


def minima(good: float, draw: random.Random) -> dict[str, Any]:
    places = [i / 10 - 1 for i in range(21)]
    coarse = [i / 4 - 1 for i in range(9)]
    sharp = 1 + 30 * good
    return {
        "samples": 500,
        "parameters": 1000,
        "train": {"samples": 5000, "loss": 1.2 - good, "score": 0.9, "metric": "accuracy"},
        "slope": {"gain": 0.001},
        "curvature": {
            "largest": [sharp * 2.0**-i for i in range(5)],
            "smallest": -0.3 * draw.random(),
            "products": 90,
            "trace": {"value": 60.0, "error": 3.0, "draws": 20},
        },
        "sharpness": {"radius": 0.5, "value": 0.1 * sharp, "error": 0.05, "draws": 20},
        "landscape": {
            "line": {"places": places, "losses": [0.02 + sharp * p * p for p in places]},
            "plane": {
                "places": coarse,
                "losses": [[0.02 + sharp * (x * x + 0.5 * y * y) for x in coarse] for y in coarse],
            },
        },
        "notes": [],
        "verdict": "Training ended where it is level",
    }


def calibration(good: float) -> dict[str, Any]:
    bins = [
        {"count": 4 + 40 * i * i, "confidence": (i + 0.5) / 10, "accuracy": good * (i + 0.5) / 10}
        for i in range(10)
    ]
    curve = {"curve": bins, "error": 1 - good, "interval": [0.01, 0.2], "by_chance": [0.01, 0.03]}
    return {
        "samples": sum(each["count"] for each in bins),
        "accuracy": good,
        "confidence": 0.9,
        "named": {"equal_width": {**curve, "greatest": 0.3}},
        "positive": None,
        "verdict": "It is surer than it is right",
    }


def beside(runs: Sequence[dict[str, Any]], sections: Sequence[str]) -> list[dict[str, Any]]:
    """Return the answers for each run with backprop's, and for two seeds of each rule."""
    pairs = [
        (run, other)
        for run in runs
        for other in runs
        if run["rule"] != "backprop" == other["rule"] and run["seed"] == other["seed"]
    ]
    for rule in dict.fromkeys(run["rule"] for run in runs):
        own = [run for run in runs if run["rule"] == rule]
        pairs += [(own[0], own[1])] if len(own) > 1 else []
    made = {"explanations": agreement, "minima": connection}
    return [
        {
            "section": name,
            "runs": [f"{each['rule']}, seed {each['seed']}" for each in pair],
            **made[name](),
        }
        for name in sections
        if name in made
        for pair in pairs
    ]


def agreement() -> dict[str, Any]:
    one = {"agreement": mean(0.5), "chance": mean(0.1)}
    return {
        "samples": 100,
        "same_answer": 0.9,
        "methods": {"integrated gradients": one, "saliency": one},
        "verdict": "They agree by 0.50",
    }


def connection() -> dict[str, Any]:
    places = [i / 10 for i in range(11)]

    def path(height: float) -> dict[str, Any]:
        losses = [0.05 + height * p * (1 - p) for p in places]
        return {"losses": losses, "scores": [0.9] * 11, "barrier": height / 4, "drop": 0.2}

    return {
        "places": places,
        "metric": "accuracy",
        "plain": path(6),
        "matched": path(2),
        "unmatched": None,
        "notes": [],
        "verdict": "The loss rises by 1.5",
    }


def fail(
    record: dict[str, Any], name: str, reason: str, rules: Sequence[str] = ()
) -> dict[str, Any]:
    """Let a section fail, of the runs of these rules or of all."""
    for run in record["runs"]:
        if not rules or run["rule"] in rules:
            run["answers"][name] = {"failed": reason}
    for pair in record["beside"]:
        own = any(each.split(", seed ")[0] in rules for each in pair["runs"])
        if pair["section"] == name and (not rules or own):
            kept = {key: pair[key] for key in ("section", "runs")}
            pair.clear()
            pair.update(kept | {"failed": reason})
    return record
