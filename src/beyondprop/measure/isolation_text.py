"""What `isolation` found, in plain words."""

from collections.abc import Sequence

Row = Sequence[float | None]


def describe(
    blocks: Sequence[str],
    changes: Sequence[Row],
    backprop: Sequence[Row],
    crossings: Sequence[str],
    isolated: bool,
) -> str:
    """Return the finding as text; the arguments are the fields of `Isolation`."""
    if not _known(changes) and not crossings:
        return "No block but the last is taught anything, so there is nothing to isolate."
    if isolated:
        verdict = "Every block learns without the blocks after it: this is not backpropagation."
    else:
        verdict = "Blocks do not learn on their own: what one is taught depends on later ones."
    known = _known(backprop)
    control = f"{_percent(min(known))} to {_percent(max(known))}" if known else "not measured"
    if crossings:
        crossed = f"A gradient left these blocks through their input: {', '.join(crossings)}."
    else:
        crossed = "No gradient left a block through its input."
    return "\n".join(
        [
            verdict,
            "",
            "The error at the output was held fixed while the weights of one block were changed.",
            "So much changed the gradient of each block before it:",
            "",
            *_table(blocks, changes),
            "",
            f"By exact gradients, the same changes: {control}.",
            crossed,
        ]
    )


def _table(blocks: Sequence[str], changes: Sequence[Row]) -> list[str]:
    cells = [["block", *(f"{name} changed" for name in blocks[1:])]]
    cells += [
        [name, *("" if j <= k else _percent(row[j]) for j in range(1, len(blocks)))]
        for k, (name, row) in enumerate(zip(blocks[:-1], changes, strict=False))
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(blocks))]
    return [
        f"  {row[0]:<{widths[0]}}"
        + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in cells
    ]


def _percent(change: float | None) -> str:
    if change is None:
        return "not taught"
    return "0" if change == 0 else f"{change:.2g}" if change < 1e-4 else f"{change:.1%}"


def _known(rows: Sequence[Row]) -> list[float]:
    return [change for row in rows for change in row if change is not None]
