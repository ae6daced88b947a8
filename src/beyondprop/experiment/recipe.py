"""A comparison's settings as YAML, from which the same command makes it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

RECIPE = "spec.yaml"
HEAD = "# All settings of a comparison. To make it again: beyondprop compare --config THIS-FILE\n"
DATA = "# It was made with --data FOLDER: give yours.\n"


def recipe(spec: Mapping[str, Any]) -> str:
    """Return what `spec.json` holds as YAML for `beyondprop compare --config`.

    Args:
        spec: Every setting as JSON; of a data folder only whether there was one.
    """
    settings = {key: value for key, value in spec.items() if key != "data"}
    text: str = yaml.safe_dump(
        settings, sort_keys=False, allow_unicode=True, default_flow_style=None
    )
    return HEAD + DATA * (spec.get("data") is not None) + text
