"""The table of step times on pages: headings and rows, made of records."""

from typing import Any

from benchmarks.common.networks import CHAIN_STEP
from benchmarks.common.tables import Cells, pivot
from beyondprop.rules import RULES


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
