"""The command line: one file each command, with `HELP`, `parser()` and `run(arguments)`."""

from beyondprop.cli.app import main

__all__ = ["main"]
