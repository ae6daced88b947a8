"""Help as people read it: no types of Python, and defaults in words."""

from __future__ import annotations

from argparse import Action
from collections.abc import Iterable
from typing import Any

from jsonargparse import DefaultHelpFormatter

LIST = "[ITEM,...]"
"""What jsonargparse writes in place of a list's name."""


class Help(DefaultHelpFormatter):
    """Writes what a flag is, and its default where the text does not say it."""

    def add_usage(
        self, usage: str | None, actions: Iterable[Action], *args: Any, **more: Any
    ) -> None:
        """Add the line of flags, of lists too by their names."""
        for action in actions:
            action.metavar = None if action.metavar == LIST else action.metavar
        super().add_usage(usage, actions, *args, **more)

    def _get_help_string(self, action: Action) -> str:
        text = action.help or ""
        if not action.option_strings or "Default: " in text or not told(action.default):
            return text
        return f"{text} Default: {told(action.default)}."


def told(default: Any) -> str:
    """Return a default in words; nothing where there is none to tell."""
    if default is True:
        return "true"
    if default is None or default is False or default == "==SUPPRESS==":
        return ""
    if isinstance(default, tuple | list):
        return ", ".join(map(str, default))
    return str(default)
