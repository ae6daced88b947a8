"""The source of a task's data for jobs: loaded once in each process that needs it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from beyondprop.experiment.plan import ComparePlan
from beyondprop.experiment.setup import load, of_seed
from beyondprop.tasks import Data, Task


@dataclass(frozen=True)
class Source:
    """A task and the source of its data, which jobs contain instead of the data.

    Attributes:
        key: Unique key of this work, under which loaded data is cached.
        task: The task.
        plan: The comparison's plan.
    """

    key: str
    task: Task = field(compare=False)
    plan: ComparePlan = field(compare=False)

    def data(self, seed: int) -> Data:
        """Return the data of a run with this seed, on the plan's device.

        It is loaded once in each process.
        """
        return of_seed(self.task, loaded(self), seed)


@lru_cache(maxsize=1)
def loaded(source: Source) -> Data:
    """Return the data of a source; see `load`."""
    return load(source.task, source.plan)
