"""Forms of the JSON files of experiments, which are checked when the files are read.

A form is one of the following: a type, where `float` means any number; a list with one form, for a
list of values of that form; a dictionary, for an object with at least these keys, where the key
`str` means every key; or a tuple of alternatives, where None means null and `...` means that the
key may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beyondprop.files import StorageError, read_json
from beyondprop.measure import Description

Form = Any

MEND = "delete it and run again with resume=True"

FIGURE = (None, float)
COUNTS = dict.fromkeys(("runs", "finished", "diverged", "failed"), int)
TRIAL = {
    "rule": str,
    "optimizer": (..., str),
    "learning_rate": float,
    "epochs": (..., int),
    "status": str,
    "validation_score": FIGURE,
    "validation_loss": FIGURE,
    "validation_samples": (..., None, int),
}
FINISHED_TRIAL = TRIAL | {"validation_score": float, "validation_loss": float}
SEARCH: Form = {
    "optimizer": str,
    "trials": int,
    "compute": float,
    "step_cost": float,
    "edge": bool,
    "counted": (..., bool),
}
TUNING = {
    "learning_rates": (..., [float]),
    "trials": [TRIAL],
    "chosen": {str: FIGURE},
    "searches": (..., {str: SEARCH}),
}
STUDIED = {"setting": {str: (str, float)}, "status": str, "validation_score": FIGURE}
SPECS: Form = (str, {})
SPEC = {
    "seeds": (..., None, [int]),
    "rules": (..., None, [SPECS]),
    "tasks": (..., None, [SPECS]),
}
SESSIONS: Form = {"sessions": [{}]}
FIGURES = {"values": (..., {}), "blocks": (..., {}), "notes": (..., {}), "failure": (..., str)}
RUN = {
    "status": str,
    "reason": (None, str),
    "task": {"name": str, "metric": str},
    "rule": {"name": str},
    "seed": int,
    "learning_rate": FIGURE,
    "head": (..., None, str, {}),
    "curve": [{"seconds": float}],
    "measures": (..., {str: FIGURES}),
}
POINT: Form = {
    "epoch": int,
    "step": int,
    "train_loss": FIGURE,
    "validation_loss": float,
    "validation_score": float,
    "seconds": float,
    "measures": {str: FIGURES},
}
FAILED_ATTEMPT = {"rate": float, "failed": str, "trial_operations": (..., float)}
ATTEMPT = {
    "rate": float,
    "validation_score": FIGURE,
    "validation_loss": FIGURE,
    "trial_operations": (..., float),
    "operations": (..., float),
    "seconds": (..., float),
    "course": (..., [{"score": FIGURE, "operations": float, "seconds": float}]),
}
ATTEMPTS: Form = (ATTEMPT, FAILED_ATTEMPT)
"""The result at one learning rate; see `rates.Attempt`."""
STUDY: Form = {"schema": int, "kind": str, "spec": {}, "seeds": [{}], "provenance": {}}
FINISHED = RUN | {"test": {"score": FIGURE}}
STOPPED = RUN | {"reason": str}
ROW = COUNTS | {"rule": str, "score_mean": FIGURE, "score_std": FIGURE, "recovery": FIGURE}
ROW |= {"score_interval": (..., None, [float]), "recovery_interval": (..., None, [float])}
ROW |= {"recovery_below": (..., None, str), "recovery_reason": (..., None, str)}
COMPARISON = {
    "task": {"name": str, "data": str, "metric": str},
    "seeds": [int],
    "tuning": TUNING,
    "rows": [ROW],
    "runs": [RUN],
    "measures": (..., {str: {}}),
    "chance": (..., None, {"score": FIGURE, "of": str}),
    "no_linear": (..., None, str),
}


def read(path: Path, form: Form, mend: str = MEND) -> dict[str, Any] | None:
    """Return the object in a JSON file after a check of its form, or None if the file is missing.

    Args:
        path: The file.
        form: Form that the object must have.
        mend: Instruction for the message if it has the wrong form.

    Raises:
        StorageError: The file cannot be read or has the wrong form.
    """
    found = read_json(path, mend)
    if found is not None:
        check(found, form, path, mend)
    return found


def read_kept(path: Path, key: str, form: Form, asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the stored value of a key; None if the file is missing or belongs to another question.

    Args:
        path: The file.
        key: Key of the value.
        form: Form of the value.
        asked: The values that determine the result.

    Raises:
        StorageError: The file cannot be read, or its value has the wrong form.
    """
    made = read_json(path, MEND)
    if made is None or made.get("asked") != asked:
        return None
    check(made, {key: form}, path)
    return dict(made[key])


def read_run(path: Path) -> dict[str, Any] | None:
    """Return the record of a run; see `read`."""
    found = read(path, {"status": str})
    if found is not None:
        check_run(found, path)
    return found


def check_run(record: dict[str, Any], path: Path) -> None:
    """Raise unless the record is that of a run; see `check`."""
    check(record, FINISHED if record["status"] == "finished" else STOPPED, path)


def read_trial(path: Path) -> dict[str, Any] | None:
    """Return the record of a trial; see `read`."""
    found = read(path, TRIAL | {"optimizer": str, "epochs": int})
    if found is not None and found["status"] == "finished":
        check(found, FINISHED_TRIAL, path)
    return found


def read_tuning(path: Path) -> dict[str, Any] | None:
    """Return the record of the tuning; see `read`."""
    return read(path, TUNING)


def read_comparison(path: Path) -> dict[str, Any] | None:
    """Return the record of a comparison; see `read`."""
    found = read(path, COMPARISON)
    try:
        for each in (found or {}).get("measures", {}).values():
            Description.read(each)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged(path, f"measures: {type(error).__name__}: {error}") from None
    return found


def check(value: Any, form: Form, path: Path, mend: str = MEND) -> None:
    """Raise if a value has the wrong form.

    Raises:
        StorageError: The value has the wrong form; the message names the file and the place in it.
    """
    fault = mismatch(value, form)
    if fault:
        raise damaged(path, fault, mend)


def damaged(path: Path, fault: str, mend: str = MEND) -> StorageError:
    """Return the error for a file whose content has the wrong form."""
    return StorageError(f"{path} is damaged ({fault}); {mend}")


def mismatch(value: Any, form: Form, place: str = "") -> str:
    """Return where and how a value differs from a form; empty if it does not differ."""
    if isinstance(form, tuple):
        found = [mismatch(value, each, place) for each in form if each is not ...]
        return "" if "" in found else found[-1]
    if isinstance(form, dict):
        if not isinstance(value, dict):
            return _not(value, "an object", place)
        return _of_object(value, form, place)
    if isinstance(form, list):
        if not isinstance(value, list):
            return _not(value, "a list", place)
        found = [mismatch(each, form[0], f"{place}[{i}]") for i, each in enumerate(value)]
        return next(filter(None, found), "")
    return "" if _fits(value, form) else _not(value, NAMES[form], place)


NAMES = {str: "text", int: "a whole number", float: "a number", None: "null", bool: "a boolean"}


def _of_object(value: dict[str, Any], form: dict[Any, Form], place: str) -> str:
    entries = dict.fromkeys(value, form[str]) if str in form else form
    for key, inner in entries.items():
        inside = f"{place}.{key}".lstrip(".")
        if key in value:
            fault = mismatch(value[key], inner, inside)
        else:
            optional = isinstance(inner, tuple) and ... in inner
            fault = "" if optional else f"{inside} is missing"
        if fault:
            return fault
    return ""


def _fits(value: Any, form: Form) -> bool:
    if form is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if form is int:  # no count or seed is larger
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return value is None if form is None else isinstance(value, form)


def _not(value: Any, expected: str, place: str) -> str:
    kinds = {str: "text", list: "a list", dict: "an object", type(None): "null", bool: "a boolean"}
    found = kinds.get(type(value), "a number that does not fit")
    return f"{place or 'it'} is {found}, not {expected}"
