"""Finding the records in the folders that a report is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from beyondprop.errors import UserError
from beyondprop.experiment.forms import check_run
from beyondprop.experiment.summary import summarise
from beyondprop.files import (
    finite,
    read_json,
)
from beyondprop.report.read import read_comparison, read_run, up_to_date
from beyondprop.report.records import (
    BACKPROP,
    FROZEN,
    LINEAR,
    Comparison,
    TaskFacts,
)

RECOVERY = ("recovery", "recovery_interval", "recovery_below", "recovery_reason")
COMPARISON, RUN = "comparison.json", "record.json"


def collect(folders: Sequence[Path]) -> list[Comparison]:
    """Return the comparisons in `folders`, in their order; then the single runs, by task.

    A folder is what `compare` or `train` wrote, or holds such folders. Raises `UserError` where it
    is neither or a record cannot be read.
    """
    comparisons: list[Comparison] = []
    singles: dict[TaskFacts, dict[Path, dict[str, Any]]] = {}
    for path in dict.fromkeys(path for folder in folders for path in _records(folder)):
        record = read_json(path) or {}
        if path.name == COMPARISON:
            comparisons.append(read_comparison(record, str(path)))
        else:
            task, _ = read_run(record, str(path))
            found = finite(up_to_date(record))
            check_run(found, path)
            singles.setdefault(task, {})[path] = found
    return comparisons + [_of_single_runs(records) for records in singles.values()]


def _records(folder: Path) -> list[Path]:
    names = (COMPARISON, RUN)
    own = [folder / name for name in names if (folder / name).is_file()]
    found = own[:1] or sorted(path for name in names for path in folder.glob(f"*/{name}"))
    if not found:
        raise UserError(
            f"{folder} holds no {COMPARISON} and no {RUN}; name a folder that `beyondprop compare`"
            " or `beyondprop train` has written (--resume ends one that was interrupted)"
        )
    return found


def _of_single_runs(found: Mapping[Path, dict[str, Any]]) -> Comparison:
    records, paths = list(found.values()), ", ".join(map(str, found))
    rules = dict.fromkeys(record["rule"]["name"] for record in records)
    ordered = sorted(rules, key=lambda rule: (rule != BACKPROP, rule == LINEAR, rule == FROZEN))
    rows = summarise(ordered, records, costs={}, measures=())
    record = {
        **records[0],
        "kind": "comparison",
        # Runs that need not have had the same budget: recovery would compare what is not alike.
        "rows": [{**row, **dict.fromkeys(RECOVERY)} for row in rows],
        "runs": records,
        "seeds": sorted({record["seed"] for record in records}),
        "spec": {},
        "provenance": dict(records[0].get("provenance") or {}) if len(records) == 1 else {},
        "measures": {k: v for record in records for k, v in record.get("measures", {}).items()},
    }
    return replace(read_comparison(record, f"what {paths} make together"), controlled=False)
