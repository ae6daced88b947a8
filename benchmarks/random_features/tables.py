"""The tables of random features by light, made from records."""

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.common.tables import Cells, Table, number

ATTACKS = {
    "own": "PGD, the rule's gradient",
    "transfer": "transfer",
    "square": "random search",
    "blind": "worst without the matrix",
    "known": "PGD, matrix known",
    "worst": "worst of all",
}
FORMS = {"accuracy": ".2%", "R²": ".3f"}


def kernel(rows: list[dict[str, Any]]) -> Cells:
    """Return the kernel's error: one row per number of features, one column per device."""
    found = {(r["features"], r["device"]): r for r in rows if r["part"] == "kernel"}
    sizes, devices = (list(dict.fromkeys(key[i] for key in found)) for i in (0, 1))
    lines = [
        [
            f"{n:,}",
            *(spread(found[n, d]["errors"], ".2%") for d in devices),
            *(number(found[n, d]["error"] * n**0.5, ".2f") for d in devices),
        ]
        for n in sizes
    ]
    heads = [*(f"error, {d}" for d in devices), *(f"error × √n, {d}" for d in devices)]
    return ("features", *heads), lines


def ridge(rows: list[dict[str, Any]]) -> Cells:
    """Return the score of each way to predict: one row per problem and way."""
    found = grouped(
        [r for r in rows if r["part"] == "ridge"], "problem", "way", "device", "features"
    )
    lines = [
        [
            problem,
            way if not n else f"{way}, {device}, {n:,} features",
            found[problem, way, device, n][0]["metric"],
            spread(
                [r["test"] for r in found[problem, way, device, n]],
                FORMS[found[problem, way, device, n][0]["metric"]],
            ),
            f"{found[problem, way, device, n][0]['learned']:,}",
        ]
        for problem, way, device, n in found
    ]
    return ("problem", "way", "score", "test", "learned numbers"), lines


def defence(rows: list[dict[str, Any]]) -> Cells:
    """Return accuracies without and under attack, with the recovery: one row per way."""
    found = grouped([r for r in rows if r["part"] == "defence"], "way")
    natural = {way: [r["natural"] for r in runs] for (way,), runs in found.items()}
    lines = [
        [
            way,
            spread(natural[way], ".1%"),
            number(recovery(way, natural), ".0%"),
            *(spread([r[a] for r in runs if a in r], ".1%") for a in ATTACKS),
        ]
        for (way,), runs in found.items()
    ]
    return ("network", "no attack", "recovery", *ATTACKS.values()), lines


def recovery(way: str, natural: dict[str, list[float]]) -> float | None:
    """Return the position of a way between its family's frozen features (0) and its backprop (1).

    None if a family lacks one of the two, or they are equally good.
    """
    family = way.split(", ")[0]
    ends = [natural.get(f"{family}, {rule}") for rule in ("frozen", "backprop")]
    if None in ends:
        return None
    low, high, own = (statistics.mean(values or []) for values in (*ends, natural[way]))
    return None if high == low else (own - low) / (high - low)


def grouped(rows: list[dict[str, Any]], *keys: str) -> dict[Any, list[dict[str, Any]]]:
    """Return rows grouped by their values in these columns."""
    found: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return found


def spread(values: Sequence[float], form: str) -> str:
    """Return the mean and the standard deviation, or a dash if there are none."""
    if not values:
        return "–"
    unit = 100 if form.endswith("%") else 1
    deviation = statistics.stdev(values) * unit if len(values) > 1 else None
    places = form[:-1]
    return f"{statistics.mean(values):{form}} ± {number(deviation, f'{places}f')}"


def table(spec: dict[str, Any], rows: list[dict[str, Any]]) -> Table:
    """Return all rows as one table."""
    lines = [(f"kernel error, {what}", f"{n} features", c) for n, what, c in cells(kernel(rows))]
    lines += [(f"ridge, {p}, {metric}", way, test) for p, way, metric, test, _ in ridge(rows)[1]]
    lines += [(f"defence, {way}", what, c) for way, what, c in cells(defence(rows))]
    return Table(
        title=f"Random features by light ({spec['data_set']})",
        columns=("part", "of what", "found"),
        rows=lines,
        notes=(
            f"Mean ± standard deviation over {spec['repeats']} seeds. Kernel: mean relative error "
            "of |x|² |y|² + (x·y)² over pairs of images, over 20 seeds. Ridge: accuracies in "
            "percent, R² as the share of the variance that is predicted, at most 1. Penalties and "
            "learning rates are chosen on the validation split. Methods without light are "
            f"deterministic if they use all training samples. Defence: {spec['samples']} test "
            f"images when each pixel may change by {spec['radius']:g} of its range, accuracies in "
            "percent. Recovery: of the accuracy without attack, 0% for the frozen and 100% for "
            "the backpropagated network of the same kind, with light or without. PGD: the worst "
            "for each image by cross-entropy and by margin; without light, 'matrix known' is "
            "plain PGD by backpropagation. 'Worst without the matrix': the worst for each image "
            "of all attacks that do not need the matrix; without light, these are all attacks. "
            "Accuracy that 'worst of all' removes beyond it was hidden, not robust.",
        ),
    )


def cells(table: Cells) -> list[tuple[str, str, str]]:
    """Return each cell with the names of its row and column."""
    heads, rows = table
    return [(r[0], h, c) for r in rows for h, c in zip(heads[1:], r[1:], strict=True)]
