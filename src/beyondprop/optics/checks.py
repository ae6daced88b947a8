"""What every part of the device asks of its figures."""

import math
from dataclasses import fields, is_dataclass
from typing import Any

from beyondprop.errors import UserError


def whole(what: str, value: int, low: int, high: int) -> None:
    """Refuse a count that is out of its range, or no whole number.

    Raises:
        UserError: It lies below ``low`` or above ``high``, or between two whole numbers.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UserError(f"{what} must be a whole number from {low} to {high}, not {value}")


def positive(what: str, value: float | None) -> None:
    """Refuse a figure that is not above zero; None means that the effect is off.

    Raises:
        UserError: It is zero, negative, infinite or no number.
    """
    if value is not None and not (value > 0 and math.isfinite(value)):
        raise UserError(f"{what} must be above 0 and finite, not {value}")


def settings(part: Any) -> dict[str, Any]:
    """Return a part's class and figures, those of parts within it too, as JSON values."""
    values = {f.name: getattr(part, f.name) for f in fields(part)}
    shown = {name: settings(v) if is_dataclass(v) else v for name, v in values.items()}
    return {"part": type(part).__name__, **shown}
