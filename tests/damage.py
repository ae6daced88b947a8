"""Every way to damage one value of a record, for the tests of those who read records."""

import copy
from collections.abc import Iterator
from typing import Any

VALUES = (None, "x", [None], {}, -1, 10**400)
REMOVED = object()


def places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where each value lies in JSON; of a list only the first and the last."""
    keys = value if isinstance(value, dict) else ()
    if isinstance(value, list):
        keys = sorted({0, len(value) - 1}) if value else ()
    for key in keys:
        yield (*before, key)
        yield from places(value[key], (*before, key))


def damaged(record: dict[str, Any], values: tuple[Any, ...] = VALUES) -> Iterator[dict[str, Any]]:
    """Yield the record with each of its values in turn removed, and replaced by each of these."""
    for place in places(record):
        for value in (REMOVED, *values):
            changed = copy.deepcopy(record)
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            if value is REMOVED:
                del inner[place[-1]]
            else:
                inner[place[-1]] = value
            yield changed
