"""The command line: one file per command, with `HELP`, `parser()` and `run(arguments)`."""

from beyondprop.cli.app import main

__all__ = ["main"]
