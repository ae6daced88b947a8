"""The tables of the coverage of third-party models, made from records."""

from typing import Any

import torch
from torch import Tensor

from benchmarks.common.tables import Cells, number
from benchmarks.common.wording import current
from beyondprop.experiment.statistics import paired


def coverage(rows: list[dict[str, Any]]) -> Cells:
    """Return the share of hidden weights that each rule teaches: one row per model."""
    rules = list(dict.fromkeys(row["rule"] for row in rows))
    found = {(row["model"], row["rule"]): row for row in rows}
    lines = []
    for row in {row["model"]: row for row in rows}.values():
        cells = [share(found[row["model"], rule]) for rule in rules]
        lines.append([row["model"], row["package"] or "plain PyTorch", *cells])
    return ("model", "from", *rules), lines


def share(row: dict[str, Any]) -> str:
    """Return a cell: the share, or that the pair is refused."""
    if row["refused"]:
        return "refused"
    return f"{row['share']:.0%}" if row["taught"] else f"({row['share']:.0%})"


def refused(rows: list[dict[str, Any]]) -> Cells:
    """Return the refused pairs with their reasons."""
    lines = [
        [row["model"], f"`{row['rule']}`", current(" ".join(row["refused"].split()))]
        for row in rows
        if row["refused"]
    ]
    return ("model", "rule", "reason"), lines


def calls(rows: list[dict[str, Any]]) -> Cells:
    """Return the calls that attach a rule with blocks: one row per model."""
    lines = [[row["model"], f"`{row['call']}`"] for row in {r["model"]: r for r in rows}.values()]
    return ("model", "call"), lines


def counted(rows: list[dict[str, Any]]) -> Cells:
    """Return how many models each rule teaches, and the share of their weights by rule."""
    rules = list(dict.fromkeys(row["rule"] for row in rows))
    lines = []
    for rule in rules:
        own = [row for row in rows if row["rule"] == rule]
        shares = [row["share"] for row in own if row["taught"]]
        least = number(min(shares, default=None), ".0%")
        lines.append([f"`{rule}`", str(len(shares)), least, str(len(own) - len(shares))])
    return ("rule", "models taught", "the least share", "refused"), lines


def trainer(rows: list[dict[str, Any]]) -> Cells:
    """Return the test losses compared with the controls: one row per rule and head."""
    losses = {(r["way"], r["head"]): torch.tensor(r["test"], dtype=torch.float64) for r in rows}
    linear, lines = losses["linear", ""], []
    for row in rows:
        found, head = losses[row["way"], row["head"]], row["head"]
        rate = "" if row["rate"] is None else number(row["rate"], ".2g") + "!" * row["edge"]
        line = [row["way"], head, rate, number(found.mean().item(), ".3f")]
        if head:
            cosines = [each for each in row["alignment"] if each is not None]
            cosine = number(sum(cosines) / len(cosines) if cosines else None, ".2f")
            below, above = losses["frozen", head], losses["backprop", head]
            share = ((below - found).mean() / (below - above).mean()).item()
            line += [
                interval(found - below),
                interval(found - linear),
                number(share, ".2f"),
                cosine,
            ]
        lines.append(line if head else [*line, "", "", "", ""])
    figures = "test loss", "less frozen's", "less linear", "recovery", "alignment"
    return ("", "decoder", "rate", *figures), lines


def interval(differences: Tensor) -> str:
    """Return the mean of paired differences with its 95% t interval."""
    if not differences.any():
        return ""
    found = paired(differences.tolist())
    return "" if found is None else f"{found.value:+.3f} ± {found.high - found.value:.3f}"
