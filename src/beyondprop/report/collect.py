"""Finding the records in the folders of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from beyondprop.errors import UserError
from beyondprop.experiment.auditing import AUDIT
from beyondprop.experiment.distilling import DISTILLATION
from beyondprop.experiment.forms import check_run
from beyondprop.experiment.modaling import MODALITIES
from beyondprop.experiment.summary import summarise
from beyondprop.files import (
    finite,
    read_json,
)
from beyondprop.report.audited.read import read_audit
from beyondprop.report.audited.records import Audit
from beyondprop.report.distilled.read import read_distillation
from beyondprop.report.distilled.records import Distillation
from beyondprop.report.modal.read import read_modalities
from beyondprop.report.modal.records import ModalComparison
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
RECORDS = (COMPARISON, MODALITIES, DISTILLATION, AUDIT, RUN)


@dataclass(frozen=True)
class Collected:
    """The records in folders, in their order; single runs, grouped by task, come last."""

    comparisons: tuple[Comparison, ...]
    distillations: tuple[Distillation, ...] = ()
    modalities: tuple[ModalComparison, ...] = ()
    audits: tuple[Audit, ...] = ()


def collect(folders: Sequence[Path]) -> Collected:
    """Return the records in `folders`.

    Each is a folder that `compare`, `distil`, `modalities`, `audit` or `train` wrote, or a folder
    of such folders.

    Raises:
        UserError: A folder holds no record, or a record cannot be read.
    """
    comparisons: list[Comparison] = []
    distillations: list[Distillation] = []
    modalities: list[ModalComparison] = []
    audits: list[Audit] = []
    singles: dict[TaskFacts, dict[Path, dict[str, Any]]] = {}
    for path in dict.fromkeys(path for folder in folders for path in _records(folder)):
        record = read_json(path) or {}
        if path.name == COMPARISON:
            comparisons.append(read_comparison(record, str(path)))
        elif path.name == DISTILLATION:
            distillations.append(read_distillation(record, str(path)))
        elif path.name == MODALITIES:
            modalities.append(read_modalities(record, str(path)))
        elif path.name == AUDIT:
            audits.append(read_audit(record, str(path)))
        else:
            task, _ = read_run(record, str(path))
            found = finite(up_to_date(record))
            check_run(found, path)
            singles.setdefault(task, {})[path] = found
    comparisons += [_of_single_runs(records) for records in singles.values()]
    return Collected(tuple(comparisons), tuple(distillations), tuple(modalities), tuple(audits))


def _records(folder: Path) -> list[Path]:
    own = [folder / name for name in RECORDS if (folder / name).is_file()]
    found = own[:1] or sorted(path for name in RECORDS for path in folder.glob(f"*/{name}"))
    if not found:
        empty = f"{folder} holds none of {', '.join(RECORDS)}"
        raise UserError(
            f"{empty if folder.is_dir() else f'there is no folder {folder}'}; name a folder"
            " that `beyondprop compare`, `beyondprop distil`, `beyondprop modalities`,"
            " `beyondprop audit` or `beyondprop train` has written"
            " (--resume completes interrupted work)"
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
        # The runs may have had different budgets, so recovery would not be a fair comparison.
        "rows": [{**row, **dict.fromkeys(RECOVERY)} for row in rows],
        "runs": records,
        "seeds": sorted({record["seed"] for record in records}),
        "spec": {},
        "provenance": dict(records[0].get("provenance") or {}) if len(records) == 1 else {},
        "measures": {k: v for record in records for k, v in record.get("measures", {}).items()},
    }
    return replace(read_comparison(record, f"the comparison of {paths}"), controlled=False)
