"""Readable help: no Python types, and defaults in words."""

from __future__ import annotations

from argparse import Action
from collections.abc import Iterable
from typing import Any

from jsonargparse import DefaultHelpFormatter

LIST = "[ITEM,...]"
"""The metavar that jsonargparse gives to lists."""


class Help(DefaultHelpFormatter):
    """Formats the help of a flag, and adds the default if the text does not state it."""

    def add_usage(
        self, usage: str | None, actions: Iterable[Action], *args: Any, **more: Any
    ) -> None:
        """Add the usage line, with names for list flags too."""
        for action in actions:
            action.metavar = None if action.metavar == LIST else action.metavar
        super().add_usage(usage, actions, *args, **more)

    def _get_help_string(self, action: Action) -> str:
        text = action.help or ""
        if not action.option_strings or "Default: " in text or not told(action.default):
            return text
        return f"{text} Default: {told(action.default)}."


def told(default: Any) -> str:
    """Return a default in words; empty if there is none."""
    if default is None or default is False or default == "==SUPPRESS==":
        return ""
    return words(default)


def words(value: Any) -> str:
    """Return a value as people write it in YAML, and a list without brackets."""
    if isinstance(value, tuple | list):
        return ", ".join(map(words, value))
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {words(each)}" for name, each in value.items()) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)
