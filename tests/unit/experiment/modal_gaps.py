"""A task whose samples lack modalities, which workers find by name."""

from dataclasses import replace
from pathlib import Path

from modal_task import TWO, part
from test_experiment_modal_gaps import lacking

from beyondprop.tasks import Data


def load(folder: Path | None) -> Data:
    """Return the data, of which the first samples of each part lack a modality."""
    del folder
    parts = (part(160, 1), part(60, 2), part(90, 3))
    return Data("gaps", *(lacking(each, 30) for each in parts), ("a", "b", "c"))


GAPS = replace(TWO, name="gaps", load=load)


def unheard(folder: Path | None) -> Data:
    """Return data of which a sample for validation is no number."""
    made = load(folder)
    split = part(60, 2)
    split.inputs["wide"][3] = float("nan")
    return replace(made, validation=split, train=part(160, 1), test=part(90, 3))


UNHEARD = replace(TWO, name="unheard", load=unheard)
