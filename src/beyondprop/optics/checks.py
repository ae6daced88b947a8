"""Checks of figures that all parts of the device share."""

import math
from dataclasses import fields, is_dataclass
from typing import Any

from beyondprop.errors import UserError


def whole(what: str, value: int, low: int, high: int) -> None:
    """Raise unless a count is a whole number within its range.

    Raises:
        UserError: It is below ``low`` or above ``high``, or not a whole number.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UserError(f"{what} must be a whole number from {low} to {high}, not {value}")


def positive(what: str, value: float | None) -> None:
    """Raise unless a figure is above zero; None means that the effect is off.

    Raises:
        UserError: The figure is zero, negative, infinite or NaN.
    """
    if value is not None and not (value > 0 and math.isfinite(value)):
        raise UserError(f"{what} must be above 0 and finite, not {value}")


def settings(part: Any) -> dict[str, Any]:
    """Return a part's class and figures, including those of inner parts, as JSON values."""
    values = {f.name: getattr(part, f.name) for f in fields(part)}
    shown = {name: settings(v) if is_dataclass(v) else v for name, v in values.items()}
    return {"part": type(part).__name__, **shown}
