"""Search for the best setting and learning rate of a method on validation samples."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

from benchmarks.audit.trials import WAYS, Trial, Way, spec_of, streams
from benchmarks.common.cached_runs import Figures
from benchmarks.common.timing import set_threads
from beyondprop.continual import Stream, learn, learn_together, make
from beyondprop.errors import UserError
from beyondprop.pieces.training import Recipe
from beyondprop.tasks import Task

SEED = 1000
FACTOR, MORE = 3.0, 3
"""The factor from an end of the tried values to the next, and the most values tried beyond it."""


@dataclass(frozen=True)
class Choice:
    """A setting and a learning rate to try.

    Attributes:
        setting: The setting of the method.
        rate: The learning rate.
    """

    setting: dict[str, Any]
    rate: float

    def recipe(self, trial: Trial, way: Way) -> Recipe:
        """Return the recipe for each experience."""
        return trial.recipe(way, self.rate, SEED)


def search(trial: Trial, name: str) -> Figures:
    """Return the setting and the rate of a method with the best validation score."""
    set_threads(1)
    way, (task, stream) = WAYS[name], held_out(trial)
    size = trial.memory(way)

    def average(choice: Choice) -> float:
        method = make(spec_of(name, choice.setting, size))
        return learn(stream, task, method, choice.recipe(trial, way)).matrix.average

    return best_of(way, average)


def search_together(trial: Trial) -> Figures:
    """Return the best rate of a rule that learns all experiences together."""
    set_threads(1)
    way, (task, stream) = Way(), held_out(trial)
    return best_of(way, lambda each: fmean(learn_together(stream, task, each.recipe(trial, way))))


def held_out(trial: Trial) -> tuple[Task, Stream]:
    """Return the task, and the stream with validation samples in place of test samples."""
    task, data = trial.data()
    return task, streams(replace(data, test=data.validation))[trial.stream]


def best_of(way: Way, average: Callable[[Choice], float]) -> Figures:
    """Return the choice with the best average, and all that were tried.

    While the best is at an end of the tried values, the next value beyond it is tried too, at most
    `MORE` values for every rule.
    """
    found: list[Figures] = []
    wanted = [Choice(setting, rate) for setting in way.settings for rate in way.rates]
    left = MORE
    while wanted:
        found += [asdict(each) | score(average, each) for each in wanted]
        best = max(found, key=lambda each: each["score"])
        wanted = beyond(found, best)[:left]
        left -= len(wanted)
    edge = bool(beyond(found, best))
    return {"tried": found, "setting": best["setting"], "rate": best["rate"], "edge": edge}


def beyond(found: Sequence[Figures], best: Figures) -> list[Choice]:
    """Return the next choices beyond the best one if it is at an end of the tried values: of the
    learning rates with its setting, or of the numbers in its setting with its rate.
    """
    rates = {each["rate"] for each in found if each["setting"] == best["setting"]}
    made = [Choice(best["setting"], each) for each in outside(rates, best["rate"])]
    for key, value in best["setting"].items():
        values = {each["setting"][key] for each in found}
        made += [
            Choice({**best["setting"], key: each}, best["rate"]) for each in outside(values, value)
        ]
    return made


def outside(tried: set[float], best: float) -> list[float]:
    """Return the next number beyond an end if the best is there."""
    if len(tried) < 2 or min(tried) < best < max(tried):
        return []
    return [best / FACTOR if best == min(tried) else best * FACTOR]


def score(average: Callable[[Choice], float], choice: Choice) -> Figures:
    """Return the average score at the end; if training fails, the score 0 and the reason."""
    try:
        return {"score": average(choice)}
    except UserError as error:
        return {"score": 0.0, "failed": f"{error}"}
