"""The table of step times on pages: headings and rows, made of records."""

from typing import Any

from benchmarks.common.networks import CHAIN_STEP
from benchmarks.common.tables import Cells, pivot
from beyondprop.rules import RULES


def rules(rows: list[dict[str, Any]], only: tuple[str, ...] = ()) -> Cells:
    """Return step times relative to plain PyTorch: one row a network, one column a rule.

    Args:
        rows: Of the record.
        only: The rules that are shown, all if there are none; `ChainStep` is shown always.
    """
    shown = {*only, CHAIN_STEP} if only else {row["rule"] for row in rows}
    found = [row for row in rows if row["rule"] in shown]
    return pivot(found, "ratio", (*RULES, CHAIN_STEP), limit="flop_limit")
