"""The command line: one file each command, with `HELP`, `parser()` and `run(arguments)`."""

from beyondprop.cli.main import main

__all__ = ["main"]
