"""Random features by light: their kernel, their predictions, and their value as a defence.

    python -m benchmarks.random_features.evaluation --data_set mnist --threads 1

Kernel: the deviation of means over n features from ``|x|² |y|² + (x·y)²``. Ridge: regression on
features, compared with the exact kernel, linear ridge (below) and a network trained by backprop
(above). Defence: networks with light before the classifier, under attack, compared with the same
network without light. Finished parts are cached in a folder and not repeated, as long as settings
and code are the same.
"""

import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

import beyondprop
from benchmarks.common.cached_runs import file_name
from benchmarks.common.command_line import command_line
from benchmarks.common.records import save
from benchmarks.random_features import attacks, defence, ridge
from benchmarks.random_features.attacks import Box
from benchmarks.random_features.defence import METHODS, PLAIN, Setting, attacked
from benchmarks.random_features.ridge import DEVICES, scores
from benchmarks.random_features.tables import table
from beyondprop.errors import UserError
from beyondprop.experiment.summary import deviation
from beyondprop.files import write_json
from beyondprop.jobs.progress import bar, bars
from beyondprop.optics import Binary, OpticalFeatures, OPUMap
from beyondprop.tasks import find
from beyondprop.tasks.random_features import GREY

KERNEL_SIZES, MEDIA = tuple(250 * 4**k for k in range(4)), range(20)
"""Features and seeds: the errors of all pairs depend on the medium, so many media are needed."""

RIDGE_SIZES = 250, 1000, 4000
TUNING_SEED = 1000
"""The seed of the trials of learning rates, which is not among those reported."""

SETS = {
    "mnist": ("mnist-mlp", ("mnist", "completion"), 256, 1024),
    "digits": ("digits-conv", ("digits", "completion"), 128, 512),
}
"""The task of the attacked images, the ridge problems, and the layers' width and features."""

Rows = Iterator[dict[str, Any]]
Parts = dict[str, Callable[[], Rows]]
"""The function that makes each part's rows, by a name that also names the part's file."""


def main(
    data_set: str = "mnist",
    repeats: int = 3,
    epochs: int = 6,
    train: int = 10_000,
    samples: int = 200,
    radius: float = 0.1,
    steps: int = 40,
    queries: int = 300,
    threads: int = 1,
    runs: Path = Path("runs/random_features"),
    output: Path = Path("results/random_features/evaluation.json"),
) -> None:
    """Measure random features by light.

    Args:
        data_set: mnist or digits (embedded, quick).
        repeats: The number of seeds, from 0.
        epochs: Epochs of a network with light.
        train: Most training samples per epoch.
        samples: The number of attacked test samples.
        radius: The largest change of a pixel, as a share of the pixels' range.
        steps: Steps of PGD.
        queries: Queries of the random search.
        threads: CPU threads.
        runs: Folder that caches each part.
        output: The file of the record; the table is written next to it.
    """
    if data_set not in SETS:
        raise UserError(f"there is no data set '{data_set}'; there are {', '.join(SETS)}")
    started = datetime.now(UTC)
    torch.set_num_threads(threads)
    spec = {"data_set": data_set, "repeats": repeats, "epochs": epochs, "train": train}
    spec |= {"samples": samples, "radius": radius, "steps": steps, "queries": queries}
    task, problems, width, features = SETS[data_set]
    setting = Setting(find(task).load(None), width, features, epochs, train)
    place = runs / "-".join([*map(str, spec.values()), digest(data_set)])
    parts: Parts = {"kernel": kernel}
    for seed in range(repeats):
        for name in problems:
            parts[f"ridge-{name}-{seed}"] = partial(predicted, name, seed)
    parts |= defences(setting, spec, place)
    rows = []
    with bars() as progress, bar(progress, "random features", len(parts)) as shown:
        for name, part in parts.items():
            progress.update(shown, description=name)
            rows += cached(place / f"{name}.json", part)
            progress.advance(shown)
    spec["threads"] = threads
    save("random_features/evaluation", spec, rows, table(spec, rows), started, output)


def digest(data_set: str) -> str:
    """Return a short hash of all that parts depend on besides the flags: sizes, rates and code.

    The code is the benchmark's own, except for its tables, and the complete package, which contains
    the networks' rules, light and data.
    """
    modules = defence, ridge
    sizes = KERNEL_SIZES, MEDIA, RIDGE_SIZES, TUNING_SEED, SETS[data_set]
    rates = [module.RATES for module in modules]
    found = sha256(repr((sizes, rates, ridge.PROBLEMS)).encode())
    files = [Path(__file__), *(Path(str(m.__file__)) for m in (attacks, *modules))]
    files += sorted(Path(str(beyondprop.__file__)).parent.rglob("*.py"))
    for file in files:
        found.update(file.read_bytes())
    return found.hexdigest()[:8]


def cached(path: Path, make: Callable[[], Rows]) -> list[dict[str, Any]]:
    """Return the rows of a finished part, or compute them."""
    if not path.exists():
        write_json(path, {"rows": list(make())})
    found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["rows"]
    return found


def predicted(name: str, seed: int) -> Rows:
    """Yield one row per way to predict."""
    for row in scores(name, RIDGE_SIZES, seed):
        yield {"part": "ridge", **row}


def kernel() -> Rows:
    """Yield one row per device and number of features: the kernel's mean relative error."""
    x = OpticalFeatures(1, GREY).mirrors(find("digits-mlp").load(None).train.inputs[:100])
    norms = x.square().sum(1).double()
    exact = norms.outer(norms) + (x @ x.t()).double().square()
    pairs = torch.ones_like(exact).triu(1).bool()
    for device, built in DEVICES.items():
        for n in KERNEL_SIZES:
            errors = []
            for seed in MEDIA:
                seen = OPUMap(n, replace(built(), encoder=Binary()), seed).transform(x).double()
                wrong = ((seen @ seen.t() / n - exact) / exact).abs()
                errors.append(wrong[pairs].mean().item())
            yield {
                "part": "kernel",
                "device": device,
                "features": n,
                "errors": errors,
                "error": statistics.mean(errors),
                "deviation": deviation(errors) or 0.0,
            }


def defences(setting: Setting, spec: dict[str, Any], place: Path) -> Parts:
    """Return one part per way and seed: the chosen rate, and the accuracy under every attack."""

    def tuned(name: str) -> Rows:
        yield {"rate": setting.best_rate(METHODS[name], TUNING_SEED)}

    @cache
    def rate(name: str) -> float:
        (row,) = cached(place / f"rate-{file_name(name)}.json", partial(tuned, name))
        return float(row["rate"])

    @cache
    def surrogate(seed: int) -> torch.nn.Module:
        # An attacker trains a separate network, from another seed than the attacked ones.
        return setting.trained(METHODS[PLAIN], rate(PLAIN), 100 + seed).model

    def defended(name: str, seed: int) -> Rows:
        handle, other = setting.trained(METHODS[name], rate(name), seed), surrogate(seed)
        torch.manual_seed(seed)
        limits = reach(setting, spec["radius"]), spec["steps"], spec["queries"]
        test = setting.data.test
        x, y = test.inputs[: spec["samples"]], test.targets[: spec["samples"]]
        found = attacked(handle, other, x, y, *limits)
        yield {"part": "defence", "way": name, "seed": seed, "rate": rate(name), **found}

    return {
        f"defence-{file_name(name)}-{seed}": partial(defended, name, seed)
        for name in METHODS
        for seed in range(spec["repeats"])
    }


def reach(setting: Setting, radius: float) -> Box:
    """Return the box of changes by a share of the pixels' range."""
    images = setting.data.train.inputs
    low, high = images.min().item(), images.max().item()
    return Box(radius * (high - low), low, high)


if __name__ == "__main__":
    command_line(main)
