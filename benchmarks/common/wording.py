"""Messages of older records in the wording that the library uses now."""

import re

REWORDED = (
    (
        re.compile(r"what learns from the last block on, (\S+), is not one nn\.Linear"),
        r"the part that learns from the last block on, \1, is not a single `nn.Linear`",
    ),
    (re.compile(r"intervals need two seeds at least"), "intervals need at least two seeds"),
    (re.compile(r"(?<!bp\.)\bexact_gradients\("), "bp.exact_gradients("),
)
"""Patterns of old messages, and their replacements."""


def current(message: str) -> str:
    """Return a recorded message in its current wording."""
    for pattern, words in REWORDED:
        message = pattern.sub(words, message)
    return message
