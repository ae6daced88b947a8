"""Views of a scene as rendered by each rule's network, from a comparison's record.

    python -m benchmarks.comparisons.views views-scene

Two held-out views, one row each: the true picture, then the renderings of the first seed's
networks.
"""

import base64
import io
from pathlib import Path
from typing import Any

from benchmarks.common.command_line import command_line
from benchmarks.common.plotting import svg
from benchmarks.common.records import RESULTS, load
from beyondprop.errors import UserError

TRUE = "true"


def main(name: str, seed: int = 0, output: Path | None = None) -> None:
    """Draw the views of a comparison with the measure `views`.

    Args:
        name: The name of a record in results/comparisons.
        seed: The seed of the runs.
        output: An SVG file; by default one next to the record.
    """
    found = pictures(load(f"comparisons/{name}"), seed)
    if len(found) < 2:
        raise UserError(f"{name} has no views of seed {seed}: compare with --measures views")
    count = len(found[TRUE][0])
    path = output or RESULTS / "comparisons" / f"{name}.svg"
    with svg(path, 1.9 * len(found), 2.1 * count) as figure:
        panels = figure.subplots(count, len(found), squeeze=False)
        for place, (rule, (views, scores)) in enumerate(found.items()):
            for number, view in enumerate(views):
                axes = panels[number][place]
                axes.imshow(decoded(view), interpolation="nearest")
                axes.set_axis_off()
                told = f"\n{scores[number]:.1f} dB" if scores else "\n"
                axes.set_title(f"{rule}{told}", fontsize=9)


def pictures(record: dict[str, Any], seed: int) -> dict[str, tuple[list[str], list[float]]]:
    """Return the true views and those of each rule, as PNG in base64, with their PSNR in dB."""
    found: dict[str, tuple[list[str], list[float]]] = {}
    for run in record["runs"]:
        details = run.get("measures", {}).get("views", {}).get("details")
        if run["seed"] == seed and details:
            found.setdefault(TRUE, (details["true"], []))
            found[run["rule"]["name"]] = (details["rendered"], details["psnr"])
    return found


def decoded(picture: str) -> Any:
    """Return a picture as an array ``(height, width, 3)``."""
    from PIL import Image

    return Image.open(io.BytesIO(base64.b64decode(picture)))


if __name__ == "__main__":
    command_line(main)
