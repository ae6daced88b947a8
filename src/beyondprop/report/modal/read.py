"""Reading and checking the record of methods for several modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from beyondprop.files import finite
from beyondprop.report.modal.records import (
    Alone,
    Computation,
    ModalComparison,
    OfSeed,
    Reached,
    Trust,
)
from beyondprop.report.read import UNREADABLE, expect, number, task_facts, unreadable

KIND, TITLE = "modalities", "comparison of modalities"
SCHEMAS = (1,)
LARGEST = 3.4e38
ROUNDING = 1e-5
"""How far rounding may move a share below 0 or above 1."""


def read_modalities(record: Mapping[str, Any], source: str = "the record") -> ModalComparison:
    """Return a comparison of methods for several modalities from its JSON record.

    Raises:
        UserError: `record` is not such a record, or is damaged.
    """
    expect(record, KIND, source, SCHEMAS, TITLE)
    try:
        return _comparison(finite(record))
    except UNREADABLE as error:
        raise unreadable(source, TITLE, error) from error


def _comparison(record: Mapping[str, Any]) -> ModalComparison:
    seeds = tuple(_seed(each) for each in record["seeds"])
    if not seeds or not seeds[0].alone or not seeds[0].methods:
        raise ValueError("no seeds, no modalities or no methods")
    if len({(tuple(each.alone), tuple(each.methods)) for each in seeds}) > 1:
        raise ValueError("seeds with other modalities or methods")
    if len({each.seed for each in seeds}) < len(seeds):
        raise ValueError("a seed twice")
    return ModalComparison(
        task=task_facts(record["seeds"][0]["task"]),
        spec=dict(record["spec"]),
        seeds=seeds,
        provenance=dict(record.get("provenance") or {}),
    )


def _seed(record: Mapping[str, Any]) -> OfSeed:
    alone = {str(name): _alone(each) for name, each in record["alone"].items()}
    budget = record["budget"]
    return OfSeed(
        seed=int(record["seed"]),
        fusion=str(record.get("fusion") or ""),
        target=number(record.get("target")),
        budget=Computation(
            alone=number(budget["alone"]),
            warm=number(budget["warm"]),
            joint=number(budget["joint"]),
            total=number(budget["total"]),
        ),
        alone=alone,
        methods={
            str(name): _reached(each, tuple(alone)) for name, each in record["methods"].items()
        },
    )


def _alone(record: Mapping[str, Any]) -> Alone:
    losses, best = tuple(_loss(each) for each in record["validation"]), int(record["best"])
    if not 0 <= best < len(losses):
        raise ValueError("a best epoch that is none")
    converged = record.get("converged") or {}
    return Alone(
        score=number(record["score"]),
        own_score=number(record.get("own_score")),
        own_samples=number(record.get("own_samples")),
        validation=number(record["validation_score"]),
        losses=losses,
        best=best + 1,
        rate=number(record["rate"]),
        edge=bool(record.get("edge")),
        operations=number(record["operations"]),
        seconds=number(record.get("seconds")),
        converged=number(converged.get("epochs")),
        converged_operations=number(converged.get("operations")),
    )


def _reached(record: Mapping[str, Any], modalities: Sequence[str]) -> Reached:
    trust, cost = record.get("trust"), record.get("to_target") or {}
    return Reached(
        score=number(record.get("score")),
        validation=number(record.get("validation_score")),
        named=_numbers(record.get("named")),
        missing=_numbers(record.get("missing")),
        noise=_numbers(record.get("noise")),
        trust=None if trust is None else _trust(trust, modalities),
        operations=number(record.get("operations")),
        searched=number(record.get("searched_operations")),
        seconds=number(record.get("seconds")),
        to_target=number(cost.get("operations")),
        seconds_to_target=number(cost.get("seconds")),
        steps=number(record.get("steps")),
        rate=number(record.get("rate")),
        edge=bool(record.get("edge")),
        modality=str(record.get("modality") or ""),
        failed=str(record["failed"]) if "failed" in record else "",
    )


def _numbers(record: Mapping[str, Any] | None) -> dict[str, float | None]:
    return {str(name): number(value) for name, value in (record or {}).items()}


def _trust(record: Mapping[str, Any], modalities: Sequence[str]) -> Trust:
    samples = tuple(_weights(row, len(modalities)) for row in record["samples"])
    right = tuple(_flags(row, len(modalities)) for row in record.get("right") or ())
    if right and len(right) != len(samples):
        raise ValueError("samples of which it is not known who is right")
    return Trust(
        mean=_by_modality(record["mean"], modalities),
        samples=samples,
        right=right,
        picked=_share(record.get("picked_right")),
        chance=_share(record.get("mean_right")),
        possible=_share(record.get("any_right")),
        where_right=_by_modality(record.get("weight_where_right") or {}, modalities),
        where_wrong=_by_modality(record.get("weight_where_wrong") or {}, modalities),
    )


def _by_modality(record: Mapping[str, Any], modalities: Sequence[str]) -> dict[str, float | None]:
    """Return a share for each modality; None if it has none."""
    return {name: _share(record.get(name)) for name in modalities}


def _loss(value: Any) -> float | None:
    """Return a loss; None if it is null or beyond the range of float32."""
    loss = number(value)
    return None if loss is None or abs(loss) > LARGEST else loss


def _share(value: Any) -> float | None:
    """Return a number from 0 to 1, up to rounding; None if it is null."""
    share = number(value)
    if share is not None and not -ROUNDING <= share <= 1 + ROUNDING:
        raise ValueError("a weight or a share that is not from 0 to 1")
    return share


def _weights(row: Sequence[Any], count: int) -> tuple[float, ...]:
    weights = tuple(share for each in row if (share := _share(each)) is not None)
    if len(weights) != count:
        raise ValueError("a sample that lacks a weight, or has one too many")
    return weights


def _flags(row: Sequence[Any], count: int) -> tuple[bool, ...]:
    if len(row) != count or not all(isinstance(each, bool) for each in row):
        raise ValueError("a sample of which it is not known which modality is right")
    return tuple(row)
