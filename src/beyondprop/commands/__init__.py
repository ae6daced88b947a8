"""The commands of the command line, one file each: `HELP`, `parser()` and `run(arguments)`."""
