"""Synthetic records of methods for several modalities: believable figures, none measured."""

import random
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from report_records import provenance, task

from beyondprop.experiment.modal_methods import METHODS
from beyondprop.experiment.modaling import LATE, SINGLE

NAMES = ("sound", "text")
CONCATENATED = tuple(name for name, each in METHODS.items() if not each.attentive)
RATES = [0.001, 0.003]
SHOWN = 12


def modalities(
    names: Sequence[str] = NAMES,
    seeds: Sequence[int] = (0, 1, 2),
    ends: dict[str, float] | None = None,
    noise: float = 0.004,
    methods: Sequence[str] = tuple(METHODS),
    classes: bool = True,
) -> dict[str, Any]:
    """Return a record.

    Args:
        names: Of the modalities; the first one learns fastest.
        seeds: Numbers.
        ends: Mean scores of the methods that are not to have 0.9.
        noise: Standard deviation of scores between seeds.
        methods: Names of those that are trained.
        classes: Whether targets are classes, or else numbers.
    """
    return {
        "schema": 1,
        "kind": "modalities",
        "spec": {
            "task": "spoken",
            "methods": None,
            "seeds": list(seeds),
            "epochs": None,
            "alone_epochs": 12,
            "patience": 3,
            "warm_epochs": 1,
            "batch_size": None,
            "rates": RATES,
            "rule": "backprop",
            "data": None,
            "threads": 1,
        },
        "seeds": [of_seed(seed, names, ends or {}, noise, methods, classes) for seed in seeds],
        "provenance": provenance() | {"command": "beyondprop modalities --task spoken"},
    }


def of_seed(
    seed: int,
    names: Sequence[str],
    ends: dict[str, float],
    noise: float,
    methods: Sequence[str],
    classes: bool,
) -> dict[str, Any]:
    draw = random.Random(seed)
    lone = {name: alone(place, ends.get(SINGLE, 0.8), draw) for place, name in enumerate(names)}
    found: dict[str, Any] = {
        name: of_method(name, names, ends.get(name, 0.9), noise, classes, draw)
        for name in (*methods, LATE)
    }
    single = lone[names[0]]
    keys = ("validation_score", "validation_loss", "score", "loss")
    costs = {"operations": 2e5, "seconds": 3.0}
    found[SINGLE] = {key: single[key] for key in keys} | costs | {"modality": names[0]}
    found[SINGLE]["to_target"] = {"epoch": 2, "operations": 1e5, "seconds": 1.5}
    return {
        "seed": seed,
        "task": task() if classes else task(()),
        "budget": {"alone": 4e5, "warm": 1e5, "joint": 5e5, "total": 1e6},
        "fusion": "Attention",
        "target": single["validation_score"],
        "alone": lone,
        "methods": found,
    }


def alone(place: int, end: float, draw: random.Random) -> dict[str, Any]:
    """Return a modality that needs the more epochs the later it is named."""
    best = 3 + 2 * place + draw.randrange(2)
    losses = [0.3 + 1.5 * 0.6 ** (epoch / (1 + place)) for epoch in range(best + 1)]
    losses += [losses[-1] + 0.02 * (more + 1) for more in range(3)]
    score = end - 0.05 * place + draw.gauss(0, 0.004)
    return scored(score) | {
        "errors": losses,
        "validation": losses,
        "best": best,
        "steps": 40 * len(losses),
        "samples": 1257 * len(losses),
        "operations": 2e5,
        "seconds": 3.0,
        "start": 2.0,
        "converged": {"epochs": 2 + place, "operations": 1e5, "seconds": 1.5},
        "own_score": score,
        "own_samples": 360,
        "rate": 0.003,
        "rates": RATES,
        "edge": place == 1,
        "weights_sha256": "0" * 64,
    }


def of_method(
    name: str,
    names: Sequence[str],
    end: float,
    noise: float,
    classes: bool,
    draw: random.Random,
) -> dict[str, Any]:
    score = end + draw.gauss(0, noise)
    sizes = dict.fromkeys((1, len(names) - 1))
    keys = ["+".join(each) for size in sizes for each in combinations(names, size)]
    made = scored(score) | {
        "named": {"accuracy": score, "weighted_f1": score - 0.01}
        if classes
        else {"mean_absolute_error": 0.4, "correlation": 0.7},
        "missing": {key: score - 0.1 + draw.gauss(0, noise) for key in keys},
        "noise": {each: score - 0.2 + draw.gauss(0, noise) for each in names},
        "trust": None if name in (*CONCATENATED, LATE) else trust(names, classes, draw),
        "operations": 6e5 if name == LATE else 1.003e6,
        "searched_operations": 8e5 if name == LATE else 3.4e6,
        "seconds": 6.0 if name == LATE else 12.5,
        "to_target": None if name == "UMT" else {"epoch": 1, "operations": 6e5, "seconds": 6.0},
    }
    if name in METHODS:
        made |= {"steps": 80, "before": 0.0, "best": 1, "rate": 0.001, "rates": RATES}
        made |= {"edge": name == "UMT"}
    return made


def trust(names: Sequence[str], classes: bool, draw: random.Random) -> dict[str, Any]:
    rows = [[draw.random() for _ in names] for _ in range(SHOWN)]
    samples = [[each / sum(row) for each in row] for row in rows]
    made: dict[str, Any] = {
        "mean": {name: sum(row[i] for row in samples) / SHOWN for i, name in enumerate(names)},
        "samples": samples,
    }
    if classes:
        share = 1 / len(names)
        made |= {
            "picked_right": 0.82 + draw.gauss(0, 0.004),
            "mean_right": 0.75 + draw.gauss(0, 0.004),
            "any_right": 0.95,
            "right": [[draw.random() < 0.75 for _ in names] for _ in range(SHOWN)],
            "weight_where_right": {n: min(1, share * draw.uniform(1.3, 1.6)) for n in names},
            "weight_where_wrong": {n: share * draw.uniform(0.4, 0.7) for n in names},
        }
    return made


def scored(score: float) -> dict[str, Any]:
    return {"validation_score": score, "validation_loss": 0.1, "score": score, "loss": 0.1}


def fail(record: dict[str, Any], method: str, seed: int) -> dict[str, Any]:
    """`record` with a method that failed from a seed."""
    (of,) = (each for each in record["seeds"] if each["seed"] == seed)
    of["methods"][method] = {"rate": 0.001, "failed": "the loss is no number."}
    return record
