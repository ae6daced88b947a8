"""The table of step times on pages, made from records."""

from typing import Any

from benchmarks.common.networks import CHAIN_STEP
from benchmarks.common.tables import Cells, number, pivot
from beyondprop.rules import RULES


def by_hand(rows: list[dict[str, Any]]) -> Cells:
    """Return steps of direct feedback alignment by hand and by the library by network."""
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
    """Return a network's name in two: the network, and its blocks or the place of the error."""
    name, _, variant = net.partition(", ")
    return name, variant or "whole"


def rules(rows: list[dict[str, Any]], only: tuple[str, ...] = ()) -> Cells:
    """Return step times relative to plain PyTorch: one row per network, one column per rule.

    Args:
        rows: The rows of the record.
        only: The shown rules, all if empty; `dfa` also shows its `ChainStep` and the limit from its
            products.
    """
    shown = set(only) or {row["rule"] for row in rows}
    shown |= {CHAIN_STEP} if "dfa" in shown else set()
    found = [row for row in rows if row["rule"] in shown]
    limit = "flop_limit" if "dfa" in shown else None
    return pivot(found, "ratio", (*RULES, CHAIN_STEP), limit=limit)
