"""Generated multimodal data with known learning speeds and known informative modalities.

A sample has a class. An informative modality is the direction of the class plus noise; an
uninformative one is louder noise without a direction. Ismail, Hasan and Ishtiaq, arXiv:2011.06102,
name both as the purpose of pre-training and attention: modalities that converge at different
speeds, and samples for which some modalities are ambiguous.
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
    """Generates the data. Called with None, it returns them; see `generated` for their properties.

    Attributes:
        rates: Learning speed of each modality, by name: its features are multiplied by the square
            root of the rate.
        ambiguous: Share of samples with only one informative modality.
        classes: Number of classes.
        width: Number of features of a modality.
        separation: Length of a class's direction; the noise has a deviation of 1.
        loudness: Deviation of the noise of an uninformative modality.
        samples: Numbers of samples for training, validation and test.
        seed: Seed of all random draws.
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
            raise UserError(f"ambiguous must be a share of samples, 0 to 1, not {self.ambiguous}")
        if not 2 <= self.classes <= self.width:
            raise UserError(
                f"each class has its own direction: 2 to {self.width} of them fit into "
                f"{self.width} features, not {self.classes}"
            )
        if min(*self.samples, self.separation, self.loudness) <= 0:
            raise UserError("samples, separation and loudness must be above 0")

    def __call__(self, folder: Path | None = None) -> Data:
        """Return vectors ``(n, width)`` by the modalities' names; a note says which are
        informative.

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
        """Return orthogonal directions, one for each class, ``(classes, width)``."""
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
    """Return a task of generated data.

    The state of a linear readout of a modality after some steps of gradient descent from zero
    weights depends only on rate × learning rate × steps: at a hundredth of the rate it takes a
    hundred times as many steps. (Adam reduces this effect: it scales steps, but not inputs.) The
    final accuracy of a modality does not depend on its rate.

    Args:
        rates: Learning speed of each modality, by name; at least two modalities.
        ambiguous: Share of samples with only one informative modality, drawn uniformly.
        classes: Number of classes.
        width: Number of features of a modality.
        separation: Length of a class's direction; the noise has a deviation of 1.
        loudness: Deviation of the noise of an uninformative modality.
        samples: Numbers of samples for training, validation and test.
        seed: Seed of the data; every run uses the same data.
        fields: Fields of the task that replace its defaults: ``name``, ``epochs``, ...

    Raises:
        UserError: A number is out of its range, or there is no field with this name.
    """
    train, validation, test = samples  # a list in a spec
    counts = (train, validation, test)
    load = Drawn(dict(rates), ambiguous, classes, width, separation, loudness, counts, seed)
    own: dict[str, Any] = {
        "name": "generated",
        "summary": f"synthetic data of {len(rates)} modalities, only one of which is informative "
        f"for {ambiguous:.0%} of the samples",
        "load": load,
        "encoders": {name: Encoder(vectors, (width,)) for name in rates},
        "outputs": classes,
        "epochs": 30,
        "learning_rate": 2e-3,
    }
    return of_modalities(**own | known_fields(fields))


GENERATED_AMBIGUOUS = generated(name="generated-ambiguous")
