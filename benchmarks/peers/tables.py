"""The table of peers on pages, made from records."""

from typing import Any

from benchmarks.common.tables import Cells, number

RULES = ("fa", "dfa", "usf")


def step_time(rows: list[dict[str, Any]]) -> Cells:
    """Return step times compared with a peer's, relative to plain PyTorch: one row per network."""
    found = {(row["net"], row["library"], row["rule"]): row for row in rows}
    libraries = ("BioTorch", "BeyondProp")
    pairs = [(library, rule) for rule in RULES for library in libraries]
    lines = []
    for net in dict.fromkeys(row["net"] for row in rows):
        plain = found[net, "plain PyTorch", "backprop"]
        timed = [found[net, library, rule] for library, rule in pairs]
        ratios = ["failed" if "failure" in row else number(row["ratio"], ".2f") for row in timed]
        lines.append([net, number(plain["seconds"] * 1000, ".2f"), *ratios])
    heads = [f"{rule}, {library}" for library, rule in pairs]
    return ("network", "plain PyTorch, ms", *heads), lines
