"""What the blocks have learned by the end of a run, for its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from beyondprop.engine.attachment import Attachment
from beyondprop.errors import UserError
from beyondprop.experiment.assess import order
from beyondprop.experiment.plan import RunPlan
from beyondprop.measure import linear_probe
from beyondprop.registry.dotted import one_line
from beyondprop.tasks import Data, Split

SAMPLES = 5000
"""Of a split that a probe sees at most."""


@dataclass(frozen=True)
class Probe:
    """What a probe found: see `linear_probe`.

    Attributes:
        accuracies: "input" and each block's name to an accuracy; None where the probe failed.
        failure: Why it failed, or None.
    """

    accuracies: Mapping[str, float] | None
    failure: str | None = None


def probe(plan: RunPlan, data: Data, handle: Attachment) -> Probe | None:
    """Probes the trained model's blocks; None where the task has no classes.

    The classifiers are fitted to training samples as they are, not augmented, and scored on the
    validation split, each at most 5,000 of the seed's: the same for every rule. The test split is
    not looked at. Nothing else of a run hangs on it, so one that fails is recorded and not raised.
    """
    if not data.classes:
        return None
    try:
        return Probe(linear_probe(handle, _some(plan, data.train), _some(plan, data.validation)))
    except UserError as error:
        return Probe(None, str(error))
    except Exception as error:  # whatever a model does wrong, the run stands
        return Probe(None, one_line(error))


def _some(plan: RunPlan, split: Split) -> Split:
    rows = order(plan.seed, 0, len(split))[:SAMPLES]
    return Split(split.inputs[rows], split.targets[rows])
