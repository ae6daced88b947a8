"""The settings of published comparisons as YAML, for `beyondprop compare --config`.

`python -m benchmarks.pages.tables` writes them.
"""

from pathlib import Path
from typing import Any

from benchmarks.common.records import RESULTS, load
from benchmarks.pages.index import today
from beyondprop.experiment.recipe import recipe


def recipes() -> dict[Path, str]:
    """Return the text of the YAML file next to each comparison's record."""
    records = sorted((RESULTS / "comparisons").glob("*.json"))
    return {path.with_suffix(".yaml"): of(load(f"comparisons/{path.stem}")) for path in records}


def of(record: dict[str, Any]) -> str:
    """Return a comparison's settings, with the current name of its task."""
    spec = record["spec"]
    task = today(spec["task"]) if isinstance(spec["task"], str) else spec["task"]
    return recipe(spec | {"task": task})
