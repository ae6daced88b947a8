"""A training step of slot machines, relative to that of the same network with dense weights.

    python benchmarks/slots.py --rounds 100

Every round gives every form one turn, in rotating order, in one process; a ratio is the median of
the ratios within rounds. A step is a whole one: forward, loss, backward, the optimizer's step, and
gradients cleared; by SGD with momentum, on targets that are drawn anew for every step, so that
weights never stop changing. Eager mode, float32, CPU.
"""

import importlib.util
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from results import Sheet, command_line, number, save
from slot_forms import FORMS, SLOTS, Task, held, tasks, warmed
from step_time import chosen, timed

from beyondprop.errors import UserError
from beyondprop.measure import Case, Step, peak_memory


def main(
    rounds: int = 100,
    warmup: int = 20,
    threads: int | None = None,
    cases: tuple[str, ...] = ("*",),
    output: Path = Path("results/slots.json"),
) -> None:
    """Time a training step of every form of a slot machine against dense weights; weigh both.

    Args:
        rounds: Turns of each form on each network: one step, or 5 ms of short ones.
        warmup: Rounds before that, not counted; as many steps come before memory is measured.
        threads: CPU threads. Default: one, and then as many as PyTorch takes.
        cases: Names or patterns of the networks, for example "linear-*".
        output: Where the record goes; the table goes beside it.
    """
    started = datetime.now(UTC)
    if importlib.util.find_spec("numba") is None:
        raise UserError("the fused form needs numba: pip install 'beyondprop[fast]'")
    counts = [threads] if threads else sorted({1, torch.get_num_threads()})
    rows = []
    for count in counts:
        torch.set_num_threads(count)
        rows += [row for task in chosen(tasks(), cases) for row in measure(task, rounds, warmup)]
    spec = {"rounds": rounds, "warmup": warmup, "threads": counts, "slots": SLOTS}
    save("slots", spec, rows, sheet(rows), started, output)


def measure(task: Task, rounds: int, warmup: int) -> Iterator[dict[str, Any]]:
    """Yield one row a form; the first is dense."""
    builds: dict[str, Callable[[], Step]] = {
        name: partial(build, task) for name, build in FORMS.items()
    }
    times = timed(task.name, [Case(*pair) for pair in builds.items()], rounds, warmup)
    dense: dict[str, Any] = {}
    for name, build in builds.items():
        training = warmed(build, warmup)
        state, resting, changed = held(training, momentum=False), held(training), training.changed()
        peak = peak_memory(partial(warmed, build, warmup))
        row = {
            "net": task.name,
            "batch": task.shape[0],
            "threads": torch.get_num_threads(),
            "form": name,
            "seconds": times[name].seconds,
            "ratio": times[name].ratio,
            "ratio_quartiles": times[name].quartiles,
            "state_bytes": state,
            "resting_bytes": resting,
            "step_bytes": peak.bytes,
            "peak_bytes": resting + peak.bytes,
            "changed": changed,
            "method": peak.method,
        }
        dense = dense or row
        row["state_ratio"] = state / dense["state_bytes"]
        row["peak_ratio"] = row["peak_bytes"] / dense["peak_bytes"]
        yield row


def sheet(rows: list[dict[str, Any]]) -> Sheet:
    """Return the rows as a table."""
    return Sheet(
        title="A training step of slot machines, relative to dense weights",
        columns=(
            "network",
            "form",
            "threads",
            "batch",
            "ms",
            "ratio",
            "quartiles",
            "state / weights",
            "peak MB",
            "/ dense",
            "changed",
        ),
        rows=[
            (
                row["net"],
                row["form"],
                str(row["threads"]),
                str(row["batch"]),
                number(row["seconds"] * 1000, ".3f"),
                number(row["ratio"], ".3f"),
                "–".join(number(q, ".3f") for q in row["ratio_quartiles"]),
                number(row["state_ratio"], ".2f"),
                number(row["peak_bytes"] / 1e6, ".1f"),
                number(row["peak_ratio"], ".2f"),
                number(row["changed"], ".2%"),
            )
            for row in rows
        ],
        notes=(
            "Ratio: the median, over rounds, of a form's time divided by the dense network's in "
            "the same round; quartiles of the same. State: all tensors that the form holds between "
            "steps but the optimizer's momentum, over the bytes of the weights. Peak: what is held "
            "between steps, momentum too, and the most that comes on top in a step, in a fresh "
            "process (resident memory, or tensors alone where that is below 32 MiB). Changed: "
            "weights that take another value in a step.",
        ),
    )


if __name__ == "__main__":
    command_line(main)
