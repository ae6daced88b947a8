"""Suggestions for unknown names."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" with the closest known name, ignoring case; "" if none is
    close.
    """
    return suggested(name, {each: each for each in known})


def suggested(name: str, known: Mapping[str, str]) -> str:
    """Return the same for objects with several names.

    Args:
        name: The unknown name.
        known: The suggestion for each known name.
    """
    folded = {each.casefold(): told for each, told in known.items()}
    close = get_close_matches(name.casefold(), folded, n=1)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""
