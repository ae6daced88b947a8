"""What every part of the device asks of its figures."""

from dataclasses import fields, is_dataclass
from typing import Any

from ..errors import UserError


def within(what: str, value: float, low: float, high: float = float("inf")) -> None:
    """Refuse a figure that is out of its range, or no number.

    Raises:
        UserError: It lies below ``low`` or above ``high``.
    """
    if not low <= value <= high:
        upper = f" and at most {high:g}" if high < float("inf") else ""
        raise UserError(f"{what} must be at least {low:g}{upper}, not {value}")


def positive(what: str, value: float | None) -> None:
    """Refuse a figure that is not above zero; None means that the effect is off.

    Raises:
        UserError: It is zero, negative or no number.
    """
    if value is not None and not value > 0:
        raise UserError(f"{what} must be above 0, not {value}")


def settings(part: Any) -> dict[str, Any]:
    """Return a part's class and figures, those of parts within it too, as JSON values."""
    values = {f.name: getattr(part, f.name) for f in fields(part)}
    shown = {name: settings(v) if is_dataclass(v) else v for name, v in values.items()}
    return {"part": type(part).__name__, **shown}
