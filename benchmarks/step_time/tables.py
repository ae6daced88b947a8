"""The table of step times on pages: headings and rows, made of records."""

from typing import Any

from benchmarks.common.networks import CHAIN_STEP
from benchmarks.common.tables import Cells, number, pivot
from beyondprop.rules import RULES


def by_hand(rows: list[dict[str, Any]]) -> Cells:
    """Return steps of direct feedback alignment by hand and by the library: one row a network."""
    heads = ("network", "blocks", "by hand", "library", "at most", "of by hand", "at most")
    return heads, [
        (
            *named(row["net"]),
            number(row["by_hand"], ".2f"),
            number(row["library"], ".2f"),
            number(row["most"], ".2f"),
            number(row["beside_hand"], ".3f"),
            number(row["within"], ".2f"),
        )
        for row in rows
    ]


def named(net: str) -> tuple[str, str]:
    """Return a network's name in two: the network, and its blocks or where the error is taken."""
    name, _, variant = net.partition(", ")
    return name, variant or "whole"


def rules(rows: list[dict[str, Any]], only: tuple[str, ...] = ()) -> Cells:
    """Return step times relative to plain PyTorch: one row a network, one column a rule.

    Args:
        rows: Of the record.
        only: The rules that are shown, all if there are none; with `dfa` its `ChainStep` is shown,
            and the least that its products allow.
    """
    shown = set(only) or {row["rule"] for row in rows}
    shown |= {CHAIN_STEP} if "dfa" in shown else set()
    found = [row for row in rows if row["rule"] in shown]
    limit = "flop_limit" if "dfa" in shown else None
    return pivot(found, "ratio", (*RULES, CHAIN_STEP), limit=limit)
