"""A comparison's settings as YAML, from which the same command makes it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

RECIPE = "spec.yaml"
HEAD = "# All settings of a {what}. To make it again: beyondprop {command} --config THIS-FILE\n"
STUDIES = {
    "compare": "comparison",
    "scale": "study of scale",
    "distil": "distillation",
    "modalities": "comparison of methods",
}
"""What a command makes."""
DATA = "# It was made with --data FOLDER: give yours.\n"


def recipe(spec: Mapping[str, Any], command: str = "compare") -> str:
    """Return settings as YAML for `beyondprop compare --config`, or for another command.

    Args:
        spec: Every setting as JSON; of a data folder only whether there was one.
        command: That takes them, one of `STUDIES`.
    """
    settings = {key: value for key, value in spec.items() if key != "data"}
    text: str = yaml.safe_dump(
        settings, sort_keys=False, allow_unicode=True, default_flow_style=None
    )
    head = HEAD.format(what=STUDIES[command], command=command)
    return head + DATA * (spec.get("data") is not None) + text
