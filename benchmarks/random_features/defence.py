"""Networks with light before the classifier, trained and then attacked; and controls without light.

The published defence assumes that an attacker does not know the matrix (Cappelli et al. 2021,
2022). Here one attacker knows it: with the calibrated model of the light, and a slope for the signs
(Athalye, Carlini and Wagner 2018). Samples that only this attacker fools were hidden, not robust.
Without light, there is no matrix to hide, so every attack counts as blind.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import beyondprop as bp
from benchmarks.random_features.attacks import Box, by_margin, fgsm, pgd, square
from beyondprop.engine.attachment import Attachment
from beyondprop.optics import CalibratedFeatures, Features, OpticalFeatures
from beyondprop.rules import Rule
from beyondprop.tasks import Data
from beyondprop.tasks.random_features import defence

RATES = (1e-3, 3e-3)
"""Learning rates tried by every method, the same number for each."""


class Signs(nn.Module):
    """Signs with a slope of 1 in the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        return x + (x.sign() - x).detach()


@dataclass(frozen=True)
class Method:
    """A network with its rule.

    Attributes:
        rule: Builds the rule from a seed.
        light: The class of the light before the classifier; None without light.
        signs: Whether, without light, the classifier gets only signs.
    """

    rule: Callable[[int], Rule]
    light: type[Features] | None = None
    signs: bool = False

    def model(self, pixels: int, width: int, features: int, seed: int) -> nn.Sequential:
        """Return the network; its hidden layers have the same initial weights in every method."""
        torch.manual_seed(seed)
        if self.light is not None:
            return defence(pixels, width, self.light(features, seed=seed))
        model = defence(pixels, width, OpticalFeatures(features, seed=seed))
        model.head = nn.Sequential(Signs() if self.signs else nn.Identity(), nn.Linear(width, 10))
        return model


def dfa(seed: int) -> Rule:
    """Return direct feedback alignment with feedback from the seed."""
    return bp.DirectFeedbackAlignment(bp.Dense(seed=seed, shared=True))


METHODS = {
    "light, dfa": Method(dfa, OpticalFeatures),
    "light, backprop": Method(lambda _: bp.Backprop(), CalibratedFeatures),
    "light, frozen": Method(lambda _: bp.Frozen(), OpticalFeatures),
    "signs, backprop": Method(lambda _: bp.Backprop(), signs=True),
    "plain, dfa": Method(dfa),
    "plain, backprop": Method(lambda _: bp.Backprop()),
    "plain, frozen": Method(lambda _: bp.Frozen()),
}
PLAIN = "plain, backprop"
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "pgd": cross_entropy,
    "pgd, margin": by_margin,
}
"""The losses of PGD: if a confident classifier flattens the first, the second still has a slope."""


@dataclass(frozen=True)
class Setting:
    """The settings of training.

    Attributes:
        data: The data, with images ``(n, 1, side, side)``.
        width: The width of the hidden layers.
        features: The number of optical features.
        epochs: Passes over the training samples.
        samples: Most training samples per epoch.
    """

    data: Data
    width: int
    features: int
    epochs: int
    samples: int

    def trained(self, way: Method, rate: float, seed: int) -> Attachment:
        """Return a network trained with Adam, with its rule still attached."""
        pixels = self.data.train.inputs[0].numel()
        model = way.model(pixels, self.width, self.features, seed)
        handle = bp.attach(model, way.rule(seed), blocks=("features", "head"))
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        train = self.data.train
        for _ in range(self.epochs):
            for rows in torch.randperm(len(train))[: self.samples].split(64):
                optimizer.zero_grad()
                cross_entropy(model(train.inputs[rows]), train.targets[rows]).backward()
                optimizer.step()
        return handle

    def best_rate(self, way: Method, seed: int) -> float:
        """Return the learning rate with the best validation accuracy."""
        part = self.data.validation

        def validated(rate: float) -> float:
            model = self.trained(way, rate, seed).model
            return right(model, part.inputs, part.targets).double().mean().item()

        return max(RATES, key=validated)


@torch.no_grad()
def right(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return which samples are classified correctly, in one pass."""
    return torch.cat([model(part).argmax(1) for part in x.split(1000)]) == y


def attacked(
    handle: Attachment,
    surrogate: nn.Module,
    x: Tensor,
    y: Tensor,
    box: Box,
    steps: int,
    queries: int,
) -> dict[str, Any]:
    """Return the accuracy under each attack, and under the worst attack for each sample.

    ``own``: along the gradient that the rule sends to the input; ``known``: along the gradient
    through the light's calibrated model, or through the network if there is no light; both take
    each image's worst over `LOSSES`. ``blind``: the worst of all attacks without the matrix. The
    rule is removed from the model.

    Args:
        handle: The attachment of the network, with the gradients of its rule.
        surrogate: A network that the attacker has trained.
        x: Images.
        y: Their labels.
        box: The allowed changes.
        steps: Steps of PGD.
        queries: Queries of the random search.
    """
    model = handle.model
    alive = {"natural": right(model, x, y)}
    if not isinstance(handle.blocks[0].rule, bp.Frozen):  # frozen sends no gradient to the input
        alive["own fgsm"] = right(model, fgsm(model, x, y, box), y)
        for name, loss in LOSSES.items():
            alive[f"own {name}"] = right(model, pgd(model, x, y, box, steps, loss), y)
    handle.remove()
    known = calibrated(model)
    for name, loss in LOSSES.items():
        alive[f"known {name}"] = right(model, pgd(known, x, y, box, steps, loss), y)
    alive["transfer"] = right(model, pgd(surrogate, x, y, box, steps, by_margin), y)
    alive["square"] = right(model, square(model, x, y, box, queries), y)
    return shares(alive, telling(model))


def telling(model: nn.Module) -> tuple[str, ...]:
    """Return the prefixes of the names of attacks that require the matrix.

    Backpropagation through calibrated light uses the matrix too; without light, no attack needs it.
    """
    light = model.head[0]
    if not isinstance(light, Features):
        return ()
    return ("known", "own") if isinstance(light, CalibratedFeatures) else ("known",)


def shares(alive: dict[str, Tensor], telling: tuple[str, ...]) -> dict[str, float]:
    """Return the accuracy under each attack, and under the worst of several for each image."""
    groups = {
        "own": [f"own {name}" for name in LOSSES],
        "known": [f"known {name}" for name in LOSSES],
        "blind": [name for name in alive if not name.startswith(telling)],
        "worst": list(alive),
    }
    every = alive | {
        group: torch.stack([alive[name] for name in names]).all(0)
        for group, names in groups.items()
        if alive.keys() >= set(names)
    }
    return {name: kept.double().mean().item() for name, kept in every.items()}


def calibrated(model: nn.Module) -> nn.Module:
    """Return the network of an attacker with the matrix: with a backward pass through the light."""
    light, classifier = model.head
    if type(light) is not OpticalFeatures:
        return model
    known = CalibratedFeatures(
        light.light.n_components, light.thresholds, light.light.projection.device
    )
    known.load_state_dict(light.state_dict())
    return nn.Sequential(model.features, nn.Sequential(known, classifier))
