"""Conversion of schema 1 records, in which measures were not objects, to schema 2."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from beyondprop.measure import MEASURES

MEASURED = ("alignment", "isolation", "probe", "step-time", "memory")


def of_schema_1(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run or a comparison in schema 2, without measures that did not exist then.

    Raises:
        AttributeError: The record is damaged.
        KeyError: The record is damaged.
        TypeError: The record is damaged.
    """
    if record["kind"] == "run":
        return _run(record)
    runs = [_run(run) for run in record["runs"]]
    probed = any("probe" in run["measures"] for run in runs)
    described = _described(name for name in MEASURED if name != "probe" or probed)
    return {**record, "schema": 2, "runs": runs, "measures": described}


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    curve = [_point(point) for point in run.get("curve") or ()]
    found: dict[str, Any] = _described(["alignment"] if curve else [])
    if curve:
        found["alignment"] |= curve[-1]["measures"]["alignment"]
        hidden = list(found["alignment"]["blocks"]["cosine"].values())[:-1]
        known = [value for value in hidden if value is not None]
        mean = sum(known) / len(known) if known else None
        found["alignment"]["values"] = {"alignment": mean}
    if run.get("probe") or run.get("probe_failure"):
        failure = {"failure": run["probe_failure"]} if run.get("probe_failure") else {}
        accuracy = {str(name): value for name, value in (run.get("probe") or {}).items()}
        found |= _described(["probe"])
        found["probe"] |= {"blocks": {"accuracy": accuracy}, **failure}
    return {**run, "schema": 2, "curve": curve, "measures": found}


def _point(point: Mapping[str, Any]) -> dict[str, Any]:
    cosines = {str(name): value for name, value in (point.get("alignment") or {}).items()}
    return {**point, "measures": {"alignment": {"blocks": {"cosine": cosines}}}}


def _described(names: Iterable[str]) -> dict[str, Any]:
    return {name: MEASURES[name].description().json() for name in names}
