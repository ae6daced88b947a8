"""Synthetic records for the tests of the report: believable figures, none of them measured."""

import math
import random
import statistics
from typing import Any

from beyondprop.experiment.spec import MEASURES as DEFAULT
from beyondprop.measure import MEASURES

ENDS = {"backprop": 0.979, "fa": 0.972, "dfa": 0.968, "drtp": 0.931, "frozen": 0.902}
ALIGNMENT = {"backprop": 1.0, "fa": 0.62, "dfa": 0.45, "drtp": 0.12}
STEP = {"backprop": 1.01, "fa": 1.04, "dfa": 0.76, "drtp": 0.73, "frozen": 0.41}
MEMORY = {"backprop": 1.0, "fa": 1.01, "dfa": 0.98, "drtp": 0.97, "frozen": 0.66}
DIGITS = tuple(str(i) for i in range(10))
RATES = (0.0003, 0.001, 0.003)


def provenance() -> dict[str, Any]:
    return {
        "command": "beyondprop compare --task digits-mlp --seeds '[0, 1, 2]'",
        "versions": {"beyondprop": "0.1.0", "torch": "2.13.0+cpu", "python": "3.11.7"},
        "hardware": {
            "cpu": "A processor with a name",
            "cores": 2,
            "threads": 2,
            "memory_gib": 23.4,
            "accelerator": None,
            "platform": "Linux-6.1-x86_64",
        },
        "commit": None,
        "started": "2026-01-01T10:00:00+00:00",
        "finished": "2026-01-01T10:01:38+00:00",
    }


def task(classes: tuple[str, ...] = DIGITS) -> dict[str, Any]:
    return {
        "name": "digits-mlp",
        "data": "scikit-learn digits",
        "train": 1257,
        "validation": 180,
        "test": 360,
        "metric": "accuracy" if classes else "R²",
        "classes": list(classes),
    }


def point(rule: str, epoch: int, blocks: tuple[str, ...], draw: random.Random) -> dict[str, Any]:
    grown = 1 - math.exp(-epoch / 3)
    score = 0.1 + (ENDS.get(rule, 0.95) - 0.1) * grown + draw.gauss(0, 0.004)
    alignment: dict[str, float | None] = {}
    for i, block in enumerate(blocks[:-1]):
        target = ALIGNMENT.get(rule, 0.3)
        depth = 1 if rule == "backprop" else 0.6 + 0.4 * i / max(1, len(blocks) - 2)
        value = target * depth * (1 if rule == "backprop" else 1 - math.exp(-(epoch + 1) / 4))
        noise = 0 if rule == "backprop" else draw.gauss(0, 0.02)
        alignment[block] = None if rule == "frozen" else value + noise
    alignment[blocks[-1]] = 1.0
    return {
        "epoch": epoch,
        "step": 40 * epoch,
        "train_loss": None if epoch == 0 else 2.3 * math.exp(-epoch / 3),
        "validation_loss": 2.3 * math.exp(-epoch / 3) + 0.1,
        "validation_score": min(score, 1.0),
        "seconds": 0.0 if epoch == 0 else 0.035 * STEP.get(rule, 1.0),
        "alignment": alignment,
    }


def confusion(score: float, classes: int, draw: random.Random) -> list[list[int]]:
    matrix = []
    for i in range(classes):
        row = [0] * classes
        # Later classes are harder, so that the picture has something to show.
        right = 1 - (1 - score) * 2 * (i + 0.5) / classes
        for _ in range(36):
            row[i if draw.random() < right else draw.randrange(classes)] += 1
        matrix.append(row)
    return matrix


def run(
    rule: str,
    seed: int,
    epochs: int = 30,
    blocks: tuple[str, ...] = ("1", "3", "5", "7"),
    classes: tuple[str, ...] = DIGITS,
) -> dict[str, Any]:
    draw = random.Random(f"{rule} {seed}")
    curve = [point(rule, epoch, blocks, draw) for epoch in range(epochs + 1)]
    score = ENDS.get(rule, 0.95) + draw.gauss(0, 0.004)
    return {
        "schema": 1,
        "kind": "run",
        "status": "finished",
        "reason": None,
        "task": task(classes),
        "rule": {
            "name": rule,
            "settings": {"rule": rule},
            "report": f"{rule} attached to Sequential\n  "
            + "\n  ".join(f"block {b}" for b in blocks),
        },
        "seed": seed,
        "learning_rate": 0.001,
        "spec": {"task": "digits-mlp", "rule": rule, "batch_size": 32, "device": "cpu"},
        "curve": curve,
        "test": {
            "score": score,
            "loss": 0.1,
            "confusion": confusion(score, len(classes), draw) if classes else None,
        },
        "parameters": 85002,
        "trained_parameters": 1290 if rule == "frozen" else 85002,
        "provenance": provenance(),
    }


def probe(record: dict[str, Any]) -> dict[str, Any]:
    """`record` with what a linear probe found in the blocks of every run."""
    for each in record["runs"]:
        end = ENDS.get(each["rule"]["name"], 0.95)
        blocks = each["curve"][0]["alignment"]
        each["probe"] = {"input": 0.9} | {
            block: end - 0.02 / (i + 1) + 0.004 * each["seed"] for i, block in enumerate(blocks)
        }
    return record


def measured(record: dict[str, Any]) -> dict[str, Any]:
    """`record` as schema 2 writes it: every measure's description, figures, notes and words."""
    described = {name: measure.description().json() for name, measure in MEASURES.items()}
    record.update(schema=2, measures={name: described[name] for name in DEFAULT})
    for each in record["runs"]:
        each["schema"] = 2
        for point in each["curve"]:
            cosines = point.pop("alignment")
            point["measures"] = {
                "alignment": {
                    "blocks": {
                        "cosine": cosines,
                        "gradient_norm": {block: 0.5 / (i + 1) for i, block in enumerate(cosines)},
                    },
                    "notes": {
                        block: "not taught: the rule gives the block no update"
                        for block, cosine in cosines.items()
                        if cosine is None
                    },
                }
            }
        each["measures"] = {}
        if each["curve"]:
            each["measures"]["alignment"] = (
                described["alignment"] | each["curve"][-1]["measures"]["alignment"]
            )
        each["measures"]["isolation"] = described["isolation"] | isolation(each)
        if "probe" in each:
            accuracy = {"blocks": {"accuracy": each.pop("probe")}}
            each["measures"]["probe"] = described["probe"] | accuracy
    for each in record["rows"]:
        rule = each["rule"]
        each["isolated"] = None if rule == "frozen" else rule in ("dfa", "drtp")
    return record


def isolation(record: dict[str, Any]) -> dict[str, Any]:
    """What isolation finds: direct rules are isolated, frozen has nothing to isolate."""
    rule = record["rule"]["name"]
    blocks = list(record["curve"][0]["measures"]["alignment"]["blocks"]["cosine"])
    kind, change, words = {
        "frozen": ("not taught: no update", None, "There is nothing to isolate."),
        "dfa": ("isolated: on no later block", 0.0, "Every block learns without those after it."),
        "drtp": ("isolated: on no later block", 0.0, "Every block learns without those after it."),
    }.get(rule, ("dependent: on later blocks", 0.31, "Blocks do not learn on their own."))
    notes = dict.fromkeys(blocks[:-1], kind) | {blocks[-1]: "last: no block comes after it"}
    return {
        "values": {"isolated": None if rule == "frozen" else change == 0.0},
        "blocks": {"change": dict.fromkeys(blocks[:-1], change) | {blocks[-1]: None}},
        "notes": notes,
        "words": words,
    }


def diverge(record: dict[str, Any], epoch: int) -> None:
    """Make `record` that of a run whose loss was no longer finite after `epoch`."""
    record["curve"] = record["curve"][: epoch + 1]
    for each in record["curve"][epoch - 1 :]:
        each["validation_score"] = 0.4
    record["curve"][-1].update(train_loss=None, validation_loss=None)
    reason = f"the loss was not finite in epoch {epoch}; try a lower learning rate"
    record.update(status="diverged", reason=reason, test=None)


def mean(values: list[float]) -> float | None:
    return statistics.fmean(values) if values else None


def row(rule: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    statuses = [each["status"] for each in runs]
    scores = [each["test"]["score"] for each in runs if each["test"]]
    hidden = [
        value
        for each in runs
        if each["status"] == "finished"
        for value in list(each["curve"][-1]["alignment"].values())[:-1]
        if value is not None
    ]
    return {
        "rule": rule,
        "runs": len(runs),
        "finished": statuses.count("finished"),
        "diverged": statuses.count("diverged"),
        "failed": statuses.count("failed"),
        "score_mean": mean(scores),
        "score_std": statistics.stdev(scores) if len(scores) > 1 else None,
        "recovery": None,
        "alignment": mean(hidden),
        "step_seconds": 0.0009 * STEP.get(rule, 1.1),
        "step_ratio": STEP.get(rule, 1.1),
        "step_quartiles": [STEP.get(rule, 1.1) - 0.02, STEP.get(rule, 1.1) + 0.03],
        "plain_step_seconds": 0.0009,
        "memory_bytes": 4.2e6 * MEMORY.get(rule, 1.1),
        "memory_ratio": MEMORY.get(rule, 1.1),
        "memory_kind": "tensors",
        "plain_memory_bytes": 4.2e6,
        "train_seconds": 1.05 * STEP.get(rule, 1.1),
    }


def compare(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """A comparison made of `runs`, as `beyondprop compare` would record it."""
    rules = list(dict.fromkeys(each["rule"]["name"] for each in runs))
    rows = [row(rule, [each for each in runs if each["rule"]["name"] == rule]) for rule in rules]
    means = {each["rule"]: each["score_mean"] for each in rows}
    low, high = means.get("frozen"), means.get("backprop")
    for each in rows:
        if low is not None and high is not None and each["score_mean"] is not None:
            each["recovery"] = (each["score_mean"] - low) / (high - low)
    return {
        "schema": 1,
        "kind": "comparison",
        "task": runs[0]["task"],
        "seeds": sorted({each["seed"] for each in runs}),
        "spec": {"task": "digits-mlp", "batch_size": 32, "tuning_seed": 1000, "device": "cpu"},
        "tuning": {
            "epochs": 5,
            "learning_rates": list(RATES),
            "trials": [
                {
                    "rule": rule,
                    "learning_rate": rate,
                    "seed": 1000,
                    "status": "finished",
                    "validation_score": ENDS.get(rule, 0.95) - abs(math.log10(rate / 0.001)) / 20,
                }
                for rule in rules
                for rate in RATES
            ],
            "chosen": dict.fromkeys(rules, 0.001),
        },
        "rows": rows,
        "runs": runs,
        "provenance": provenance(),
    }


def comparison(
    rules: tuple[str, ...] = tuple(ENDS), seeds: tuple[int, ...] = (0, 1, 2), **options: Any
) -> dict[str, Any]:
    """Rules x seeds, all finished."""
    return compare([run(rule, seed, **options) for rule in rules for seed in seeds])


def realistic() -> dict[str, Any]:
    """Five rules, three seeds, thirty epochs, ten classes, and one run that diverged."""
    runs = [run(rule, seed) for rule in ENDS for seed in (0, 1, 2)]
    diverge(next(r for r in runs if r["rule"]["name"] == "drtp" and r["seed"] == 1), epoch=9)
    return compare(runs)
