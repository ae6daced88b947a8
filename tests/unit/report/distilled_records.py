"""Synthetic records of distillations: believable figures, none of them measured."""

import random
from collections.abc import Sequence
from typing import Any

from report_records import provenance, task

from beyondprop.experiment.distil_table import WAYS

SHARES = {"narrower(share=0.5)": 0.5, "low-rank(share=0.25)": 0.31}
"""Candidates, and what each keeps of a piece's operations."""
CANDIDATES = [
    {"candidate": "narrower", "share": 0.5},
    {"candidate": "low-rank", "share": 0.25},
]
ENDS = dict(zip(WAYS, (0.91, 0.955, 0.952, 0.953, 0.958, 0.94), strict=True))
OPERATIONS = 1000
"""Of each piece of the teacher; what is in no neighbourhood has a tenth of all."""


def distillation(
    names: Sequence[str] = ("layers.0", "layers.1", "layers.2"),
    budgets: Sequence[float] = (0.7, 0.45),
    seeds: Sequence[int] = (0, 1, 2),
    ends: dict[str, float] | None = None,
    noise: float = 0.003,
) -> dict[str, Any]:
    """Return a record in which every seed chooses alike.

    Args:
        names: Of the neighbourhoods.
        budgets: Shares of the operations that may be kept.
        seeds: Numbers.
        ends: Mean scores of the ways that are not to have the usual one; of the teacher by
            ``teacher``.
        noise: Standard deviation of scores between seeds.
    """
    return {
        "schema": 1,
        "kind": "distillation",
        "spec": {
            "task": "digits-conv",
            "blocks": list(names),
            "candidates": CANDIDATES,
            "budgets": list(budgets),
            "seeds": list(seeds),
            "teacher_epochs": 2,
            "epochs": 1,
            "heal_epochs": 1,
            "batch_size": None,
            "learning_rate": 0.001,
            "rates": [0.001, 0.003],
            "rule": "backprop",
            "cache_gib": 8.0,
            "data": None,
            "threads": 1,
        },
        "seeds": [of_seed(seed, names, budgets, ENDS | (ends or {}), noise) for seed in seeds],
        "provenance": provenance(),
    }


def of_seed(
    seed: int, names: Sequence[str], budgets: Sequence[float], ends: dict[str, float], noise: float
) -> dict[str, Any]:
    draw = random.Random(seed)
    teacher = ends.get("teacher", 0.962) + draw.gauss(0, noise)
    return {
        "seed": seed,
        "task": task(),
        "teacher": scored(teacher) | {"operations": round(len(names) * OPERATIONS / 0.9)},
        "pieces": {name: {"parameters": 200, "operations": OPERATIONS} for name in names},
        "students": {
            name: {label: student(share, draw) for label, share in SHARES.items()} for name in names
        },
        "assemblies": [assembly(budget, names, ends, noise, draw) for budget in budgets],
    }


def student(share: float, draw: random.Random) -> dict[str, Any]:
    error = 0.5 * (1 - share) + draw.uniform(-0.1, 0.1)
    return {
        "error": error,
        "alone": error**3 - 0.002,
        "steps": 20,
        "cost": {
            "parameters": round(200 * share),
            "operations": round(OPERATIONS * share),
            "bytes": 800,
        },
        "training_operations": 10**6,
    }


def assembly(
    budget: float, names: Sequence[str], ends: dict[str, float], noise: float, draw: random.Random
) -> dict[str, Any]:
    """Return an assembly with a student in every second neighbourhood, and its scores."""
    labels = list(SHARES)
    choice = {name: labels[i // 2 % 2] for i, name in enumerate(names) if (i + (budget > 0.5)) % 2}
    choice = choice or {names[0]: labels[0]}
    return {
        "budget": budget,
        "choice": choice,
        "predicted": 0.1,
        "kept": 0.98 * budget,
        "computation": {"capture": 1.0, "healing": 1.0, "whole": 2.0, "shared": 1.0},
        "ways": {
            way: scored(ends[way] + draw.gauss(0, noise))
            | ({} if way == "merged" else {"rate": 0.001, "steps": 40, "edge": way == "scratch"})
            for way in WAYS
        },
    }


def scored(score: float) -> dict[str, Any]:
    return {"validation_score": score, "validation_loss": 0.1, "score": score, "loss": 0.1}


def fail_budget(record: dict[str, Any], place: int, seeds: Sequence[int]) -> dict[str, Any]:
    """`record` with no assembly within a budget from some seeds."""
    for of in record["seeds"]:
        if of["seed"] in seeds:
            of["assemblies"][place] = {
                "budget": of["assemblies"][place]["budget"],
                "failed": "no assembly is within the budget: operations 1 where 2 is the least",
            }
    return record


def fail_way(record: dict[str, Any], place: int, seed: int, way: str = "pruned") -> dict[str, Any]:
    """`record` with a way that failed within a budget from a seed."""
    (of,) = (each for each in record["seeds"] if each["seed"] == seed)
    of["assemblies"][place]["ways"][way] = {"rate": 0.001, "failed": "the loss is no number."}
    return record


def without_facts(record: dict[str, Any]) -> dict[str, Any]:
    """`record` as early ones are: without the task's facts and the costs of pieces."""
    for seed in record["seeds"]:
        del seed["task"], seed["pieces"]
    return record
