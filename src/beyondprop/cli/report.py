"""`beyondprop report`: an HTML page from records."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from beyondprop.cli.parser import Parser

HELP = "Turn the records in folders into one HTML file that opens anywhere."


def parser() -> Parser:
    """Return the command's folders, and its flags for the page."""
    made = Parser(description=HELP, epilog="Example: beyondprop report runs/digits")
    made.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="A folder written by `beyondprop compare`, `beyondprop distil`, `beyondprop "
        "modalities`, `beyondprop audit` or `beyondprop train`, or a folder of them.",
    )
    made.add_argument(
        "--output",
        type=Path | None,
        default=None,
        help="The HTML file. Default: report.html in the first folder.",
    )
    made.add_argument(
        "--docs",
        type=str | None,
        default=None,
        metavar="ADDRESS",
        help="Address of the documentation's guides, for example https://example.org/docs/. Links "
        "to the pages of rules start with it. Default: the address in the installed package.",
    )
    return made


def run(arguments: Namespace) -> int:
    """Write the page and print its path."""
    from beyondprop.report import write

    output = arguments.output or arguments.folders[0] / "report.html"
    print(f"report: {write(arguments.folders, output, arguments.docs)}")
    return 0
