"""A measure of one's own that does not say what it must is refused before anything is trained."""

from typing import Any

import pytest
import torch

import beyondprop as bp
from beyondprop.experiment.measuring import attempted
from beyondprop.measure import Column, Figures, Measure, MeasureTraits, Subject, find_all


class Whole(Measure):
    """Says all that it must."""

    name = "whole"
    title = "Whole"
    about = "What tests look at."
    traits = MeasureTraits(needs=frozenset({"model"}))
    columns = (Column("whole", "whole"),)

    def run(self, subject: Subject) -> Figures:  # noqa: ARG002
        return Figures(values={"whole": 1.0})


def changed(**attributes: Any) -> Measure:
    measure = Whole()
    for name, value in attributes.items():
        setattr(measure, name, value)
    return measure


def test_a_whole_one_is_taken() -> None:
    assert find_all([Whole()])[0].name == "whole"


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"title": None}, "needs a text as its `title`"),
        ({"traits": None}, r"needs `traits = MeasureTraits\("),
        ({"traits": MeasureTraits(needs=frozenset({"nonsense"}))}, "needs nonsense, which no"),
        ({"columns": "mm"}, "needs a tuple of Column as its `columns`"),
        (
            {"columns": (Column("mm", "mm", form="%%bad"),)},
            "'mm' the form '%%bad', which is not a number format",
        ),
    ],
)
def test_one_that_is_not_is_refused(attributes: dict[str, Any], said: str) -> None:
    with pytest.raises(bp.UserError, match=said):
        find_all([changed(**attributes)])


@pytest.mark.parametrize(
    ("returned", "said"),
    [(None, "returned a NoneType"), (Figures(values={"whole": torch.ones(3)}), "Tensor")],
)
def test_what_a_record_cannot_hold_is_a_failure(returned: Any, said: str) -> None:
    found = attempted(changed(run=lambda _: returned), Subject())
    assert said in found.failure
    assert not found.values
