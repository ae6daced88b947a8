"""A training step by the rules of this library and of BioTorch, relative to plain PyTorch backprop.

    pip install --no-deps biotorch==0.0.16
    python -m benchmarks.peers.step_time --rounds 100

All use the same networks, initial weights, batches, loss and optimizer, interleaved in one process.
`biotorch.py` states how BioTorch is run. Before a rule is timed, its gradients are compared with
backprop's. A peer's rule whose hidden gradients equal backprop's, or that fails, is recorded as a
failure with the reason.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common.command_line import command_line
from benchmarks.common.networks import PLAIN, Network, step_time_networks
from benchmarks.common.records import save
from benchmarks.common.tables import Table, number, quartiles
from benchmarks.common.timing import select, set_threads, time_cases
from benchmarks.peers import biotorch as peer
from benchmarks.peers.implementations import BASELINE, IMPLEMENTATIONS, Implementation
from beyondprop.measure import Case
from beyondprop.measure.alignment import cosine

NETS = ("mlp-8x1024", "mlp-*x64", "mlp-*x128", "convnet")
SAME = 0.99
"""A peer whose hidden gradients have a larger cosine with backprop's does backprop."""


def main(
    rounds: int = 100,
    warmup: int = 5,
    threads: int | None = None,
    cases: tuple[str, ...] = NETS,
    output: Path = Path("results/peers/step_time.json"),
) -> None:
    """Time a training step of this library and of BioTorch against plain PyTorch.

    Args:
        rounds: Turns of each rule on each network: one step, or 5 ms of short steps.
        warmup: Warm-up rounds, which are not counted.
        threads: CPU threads. Default: PyTorch's.
        cases: Names or patterns of the networks, for example "mlp-*x64".
        output: The file of the record; the table is written next to it.
    """
    started, version = datetime.now(UTC), peer.installed()
    used = set_threads(threads)
    nets = select(step_time_networks(), cases)
    with peer.ignore_hook_warning():
        rows = [row for net in nets for row in measure(net, rounds, warmup)]
    spec = {"rounds": rounds, "warmup": warmup, "threads": used}
    save(
        "peers/step_time", spec | {"biotorch": version}, rows, table(rows, version), started, output
    )


def measure(net: Network, rounds: int, warmup: int) -> Iterator[dict[str, Any]]:
    """Yield one row per implementation."""
    checks = {made: check(made, net) for made in IMPLEMENTATIONS}
    working = [made for made, found in checks.items() if "failure" not in found]
    cases = [Case(made.name, partial(made.step, net)) for made in working]
    times = time_cases(net.name, cases, rounds, warmup)
    for made, found in checks.items():
        row = {"net": net.name, "batch": net.shape[0], "library": made.library, "rule": made.rule}
        if time := times.get(made.name):
            row |= {"seconds": time.seconds, "ratio": time.ratio, "ratio_quartiles": time.quartiles}
        yield row | found


def check(made: Implementation, net: Network) -> dict[str, Any]:
    """Return the largest cosine of a hidden layer's gradient with backprop's, or the failure."""
    try:
        step = made.step(net)
        step()
        step()
        found = made.hidden_gradients(net)
    except Exception as error:  # of any kind, as a user of that library would see it
        return {"failure": f"{type(error).__name__}: {error}"}
    greatest = max(
        (1.0 if (c := cosine(a, b)) is None else c)
        for a, b in zip(found, BASELINE.hidden_gradients(net), strict=True)
    )
    if made.library == peer.NAME and greatest > SAME:
        return {"failure": f"a hidden layer has backprop's gradient or none, cosine {greatest:.4f}"}
    return {"cosine": greatest}


def table(rows: Sequence[dict[str, Any]], biotorch: str) -> Table:
    """Return the rows as a table, with the reasons of failures below it."""
    failures = [
        f"{row['net']}, {row['library']} {row['rule']}: {row['failure']}"
        for row in rows
        if "failure" in row
    ]
    return Table(
        title=(
            f"Time of a training step compared with BioTorch {biotorch}, relative to plain PyTorch"
        ),
        columns=("network", "rule", "batch", "ms", "ratio", "quartiles", "cosine"),
        rows=[cells(row) for row in rows],
        notes=(
            "Ratio: the median, over rounds, of a rule's time divided by plain PyTorch's in the "
            "same round, with its quartiles. Cosine: the largest, over hidden layers, between "
            "the first gradient of a layer's weight and backprop's at the same weights; up to "
            f"{SAME}, the rule differs from backprop.",
            f"BioTorch {biotorch} runs unchanged, installed without its dependencies. Its output "
            "while it converts a model and PyTorch's deprecation warning for the hooks of its DFA "
            "are suppressed.",
            *failures,
        ),
    )


def cells(row: dict[str, Any]) -> list[str]:
    """Return a row as text."""
    name = row["library"] if row["library"] == PLAIN else f"{row['library']} {row['rule']}"
    texts = [row["net"], name, str(row["batch"])]
    if "failure" in row:
        return [*texts, "failed", "–", "–", "–"]
    return [
        *texts,
        number(row["seconds"] * 1000, ".3f"),
        number(row["ratio"], ".3f"),
        quartiles(row),
        number(row["cosine"], ".2f"),
    ]


if __name__ == "__main__":
    command_line(main)
