"""A comparison's settings as YAML, with which the same command repeats it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

RECIPE = "spec.yaml"
HEAD = "# All settings of a {what}. To make it again: beyondprop {command} --config THIS-FILE\n"
STUDIES = {
    "compare": "comparison",
    "scale": "scaling study",
    "distil": "distillation",
    "modalities": "comparison of methods",
}
"""The kind of study that each command makes."""
DATA = "# The data came from --data FOLDER: pass your own folder.\n"


def recipe(spec: Mapping[str, Any], command: str = "compare") -> str:
    """Return settings as YAML for `beyondprop compare --config`, or for another command.

    Args:
        spec: Every setting as JSON; for a data folder, only whether one was given.
        command: The command, one of `STUDIES`.
    """
    settings = {key: value for key, value in spec.items() if key != "data"}
    text: str = yaml.safe_dump(
        settings, sort_keys=False, allow_unicode=True, default_flow_style=None
    )
    head = HEAD.format(what=STUDIES[command], command=command)
    return head + DATA * (spec.get("data") is not None) + text
