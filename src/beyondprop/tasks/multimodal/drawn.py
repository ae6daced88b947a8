"""Drawn data of several modalities: how fast each can be learned, and which one decides, is known.

A sample has a class. A modality that says something is the class's own direction and noise; one
that says nothing is louder noise, without a direction. Ismail, Hasan and Ishtiaq,
arXiv:2011.06102, name both as what pre-training and attention are for: modalities that converge at
different speeds, and samples that some of them are ambiguous about.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beyondprop.errors import UserError, check_type
from beyondprop.models.encoders import vectors
from beyondprop.registry import check_fields
from beyondprop.tasks.base import Task, known_fields
from beyondprop.tasks.multimodal.common import INFORMATIVE, Encoder, of_modalities
from beyondprop.tasks.samples import Data, Split

RATES: Mapping[str, float] = {"fast": 1.0, "slow": 0.01}
SAMPLES = (2000, 500, 1000)


@dataclass(frozen=True)
class Drawn:
    """Draws the data. Called with None, it gives them; see `generated` for what they are.

    Attributes:
        rates: How fast each modality is learned, by name: its features are all multiplied by the
            root of it.
        ambiguous: Share of samples of which one modality alone says something.
        classes: How many.
        width: Features of a modality.
        separation: Length of a class's direction, where the noise has a deviation of 1.
        loudness: Deviation of the noise of a modality that says nothing.
        samples: For training, for validation and for the test.
        seed: Of everything that is drawn.
    """

    rates: Mapping[str, float] = field(default_factory=lambda: dict(RATES))
    ambiguous: float = 0.5
    classes: int = 4
    width: int = 16
    separation: float = 4.0
    loudness: float = 5.0
    samples: tuple[int, int, int] = SAMPLES
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        check_type("rates", self.rates, Mapping, "numbers by the names of modalities")
        for name, rate in self.rates.items():
            check_type(f"the rate of {name}", rate, Real, "a number above 0")
        if len(self.rates) < 2 or min(self.rates.values()) <= 0:
            raise UserError(f"give two modalities or more, with rates above 0, not {self.rates}")
        if not 0 <= self.ambiguous <= 1:
            raise UserError(f"ambiguous is a share of samples, 0 to 1, not {self.ambiguous}")
        if not 2 <= self.classes <= self.width:
            raise UserError(
                f"each class has its own direction: 2 to {self.width} of them fit into "
                f"{self.width} features, not {self.classes}"
            )
        if min(*self.samples, self.separation, self.loudness) <= 0:
            raise UserError("samples, separation and loudness must be above 0")

    def __call__(self, folder: Path | None = None) -> Data:
        """Return vectors ``(n, width)`` by the modalities' names; a note says which say something.

        Raises:
            UserError: A folder is given.
        """
        if folder is not None:
            raise UserError(
                "the data are generated, so there is no folder to read: leave out data="
            )
        generator = np.random.RandomState(self.seed)
        directions = {name: self._directions(generator) for name in self.rates}
        parts = (self._part(generator, directions, count) for count in self.samples)
        train, validation, test = parts
        classes = tuple(map(str, range(self.classes)))
        return Data("generated", train, validation, test, classes)

    def _directions(self, generator: np.random.RandomState) -> Tensor:
        """Return a direction for each class, at right angles, ``(classes, width)``."""
        made, _ = np.linalg.qr(generator.standard_normal((self.width, self.classes)))
        return torch.from_numpy(made.T * self.separation).float()

    def _part(
        self, generator: np.random.RandomState, directions: Mapping[str, Tensor], count: int
    ) -> Split:
        targets = torch.from_numpy(generator.randint(self.classes, size=count))
        doubtful = torch.from_numpy(generator.random_sample(count) < self.ambiguous)
        alone = torch.from_numpy(generator.randint(len(self.rates), size=count))
        said = ~doubtful[:, None] | (alone[:, None] == torch.arange(len(self.rates)))
        inputs = {}
        for place, (name, rate) in enumerate(self.rates.items()):
            noise = torch.from_numpy(generator.standard_normal((count, self.width))).float()
            clear = directions[name][targets] + noise
            inputs[name] = rate**0.5 * torch.where(
                said[:, place, None], clear, self.loudness * noise
            )
        return Split(inputs, targets, {INFORMATIVE: said})


def generated(
    rates: Mapping[str, float] = RATES,
    ambiguous: float = 0.5,
    classes: int = 4,
    width: int = 16,
    separation: float = 4.0,
    loudness: float = 5.0,
    samples: tuple[int, int, int] = SAMPLES,
    seed: int = 0,
    **fields: Any,
) -> Task:
    """Return a task of drawn data.

    What a linear readout has learned of a modality after some steps of gradient descent from zero
    weights depends on rate × learning rate × steps alone: at a hundredth of the rate it takes a
    hundred times the steps. (Adam makes that less: it scales steps, but not inputs.) How well a
    modality can be read in the end does not depend on its rate.

    Args:
        rates: How fast each modality is learned, by name; two modalities or more.
        ambiguous: Share of samples of which one modality alone, each as likely, says something.
        classes: How many.
        width: Features of a modality.
        separation: Length of a class's direction, where the noise has a deviation of 1.
        loudness: Deviation of the noise of a modality that says nothing.
        samples: For training, for validation and for the test.
        seed: Of the data; every run has the same.
        fields: Of the task, in place of its defaults: ``name``, ``epochs``, ...

    Raises:
        UserError: A number is out of its range, or there is no field of this name.
    """
    train, validation, test = samples  # a list, in a spec
    counts = (train, validation, test)
    load = Drawn(dict(rates), ambiguous, classes, width, separation, loudness, counts, seed)
    own: dict[str, Any] = {
        "name": "generated",
        "summary": f"drawn data of {len(rates)} modalities, of which one alone says something of "
        f"{ambiguous:.0%} of the samples",
        "load": load,
        "encoders": {name: Encoder(vectors, (width,)) for name in rates},
        "outputs": classes,
        "epochs": 30,
        "learning_rate": 2e-3,
    }
    return of_modalities(**own | known_fields(fields))


GENERATED_AMBIGUOUS = generated(name="generated-ambiguous")
