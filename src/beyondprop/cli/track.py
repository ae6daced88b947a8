"""`beyondprop track`: send the metrics of runs to a dashboard."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from beyondprop.cli.parser import Parser
from beyondprop.errors import install
from beyondprop.registry import Spec

HELP = "Send the metrics of runs to TensorBoard or another tracker, during or after the runs."


def parser() -> Parser:
    """Return the command's folder and its flags for the tracker."""
    made = Parser(description=HELP, epilog="Example: beyondprop track runs --follow")
    made.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="A folder written by a command, or a folder of them.",
    )
    made.add_argument(
        "--tracker",
        type=Spec,
        default="tensorboard",
        help=f"The tracker: tensorboard ({install('track')}), or your own as my.module:Tracker.",
    )
    made.add_argument(
        "--follow",
        action="store_true",
        help="Keep sending new figures until Ctrl-C.",
    )
    return made


def run(arguments: Namespace) -> int:
    """Send the metrics, and print the number of steps."""
    from beyondprop.experiment.tracking import TRACKERS, track

    count = track(arguments.folder, TRACKERS.make(arguments.tracker), arguments.follow)
    print(f"figures of {count} steps")
    return 0
