"""`beyondprop track`: the figures of runs, for a dashboard."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from beyondprop.cli.parser import Parser
from beyondprop.registry import Spec

HELP = "Hand the figures of runs to TensorBoard or another tracker, while they go on or afterwards."


def parser() -> Parser:
    """Return the command's folder and where its figures go."""
    made = Parser(description=HELP, epilog="Example: beyondprop track runs --follow")
    made.add_argument(
        "folder", type=Path, metavar="FOLDER", help="What a command left, or a folder of such."
    )
    made.add_argument(
        "--tracker",
        type=Spec,
        default="tensorboard",
        help="Who takes them: tensorboard (needs beyondprop[track]), or your own as "
        "my.module:Tracker.",
    )
    made.add_argument(
        "--follow",
        action="store_true",
        help="Go on looking for new figures, until Ctrl-C.",
    )
    return made


def run(arguments: Namespace) -> int:
    """Hand the figures over, and say how many."""
    from beyondprop.experiment.tracking import TRACKERS, track

    count = track(arguments.folder, TRACKERS.make(arguments.tracker), arguments.follow)
    print(f"figures of {count} steps")
    return 0
