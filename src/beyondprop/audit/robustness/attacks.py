"""Attacks: searches for inputs nearby that fool a classifier.

They work in units of the features' ranges, so that ε is a share of the range and every result lies
in [0, 1]. Which gradients they see is their caller's to say: `withstood` asks for exact ones.
"""

from __future__ import annotations

import logging
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

import torch
from torch import Tensor

from beyondprop.audit.logits import Logits
from beyondprop.errors import UserError
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count

TARGETS = 9
"""Classes that AutoAttack aims at in turn, where there are as many others."""


class Attack(ABC):
    """A search in the ball of the maximum norm.

    Attributes:
        name: As tables show it.
        packages: That it needs.
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]

    def check_installed(self) -> None:
        """Refuse an attack whose packages are missing.

        Raises:
            UserError: Names the extra.
        """
        if missing := [each for each in self.packages if find_spec(each) is None]:
            raise UserError(
                f"{self.name} needs {', '.join(missing)}: pip install 'beyondprop[audit]'"
            )

    @abstractmethod
    def perturbed(self, logits: Logits, units: Tensor, targets: Tensor, epsilon: float) -> Tensor:
        """Return inputs nearby that fool a classifier, or the last ones tried.

        It draws from PyTorch's global generator, or from a seed drawn by it.

        Args:
            logits: Units to logits ``(n, classes)``.
            units: ``(n, ...)`` in [0, 1].
            targets: The right classes, ``(n,)`` int64.
            epsilon: How far a feature may be moved, above 0.
        """


@dataclass(frozen=True)
class Pgd(Attack):
    """Projected gradient descent from a random start (Madry et al. 2018, equation 4), by captum.

    Each step has a length of 2.5 ε / steps. What is raised is the log odds against the right class,
    `odds_against`.

    Attributes:
        steps: Gradients taken.
    """

    name: ClassVar[str] = "PGD"
    packages: ClassVar[tuple[str, ...]] = ("captum",)
    steps: Count = 20

    def __post_init__(self) -> None:
        check_fields(self)

    def perturbed(self, logits: Logits, units: Tensor, targets: Tensor, epsilon: float) -> Tensor:
        """Return the inputs after the last step."""
        return ascended(logits, odds_against, units, targets, epsilon, self.steps)


def odds_against(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the log odds against the right class, ``(n,)``: the others' log-sum-exp less its
    logit.

    The cross-entropy is its softplus, so both have the same sign of gradient. This one doesn't
    vanish where a model is sure of itself, where attacks by the cross-entropy fail in float32.
    """
    right = targets[:, None]  # (n, 1)
    others = logits.scatter(1, right, -torch.inf)  # (n, classes)
    return others.logsumexp(1) - logits.gather(1, right).squeeze(1)


def ascended(
    outputs: Callable[[Tensor], Any],
    loss: Callable[[Any, Any], Tensor],
    units: Tensor,
    targets: Any,
    epsilon: float,
    steps: int,
) -> Tensor:
    """Return inputs at which a loss is greater, by projected gradient descent.

    Args:
        outputs: Of a model, of units.
        loss: (outputs, targets) to ``(n,)`` or one number in a tensor ``(1,)``.
        units: ``(n, ...)`` in [0, 1].
        targets: As the loss takes them.
        epsilon: How far a feature may be moved.
        steps: Gradients taken.
    """
    from captum.robust import PGD

    attack = PGD(outputs, loss, lower_bound=0.0, upper_bound=1.0)
    attack.fgsm.zero_thresh = 0.0  # its own leaves features whose gradients are small alone
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Input Tensor 0 did not already require gradients")
        found: Tensor = attack.perturb(
            units.detach(), epsilon, 2.5 * epsilon / steps, steps, targets, random_start=True
        )
    return found.detach()


@dataclass(frozen=True)
class AutoAttack(Attack):
    """APGD, targeted APGD, targeted FAB and Square, each on what the others left (Croce and Hein
    2020), by pyautoattack, the standard version.

    With three classes or fewer there is no targeted loss, so APGD's other loss takes its place; of
    two classes that one is left out too.
    """

    name: ClassVar[str] = "AutoAttack"
    packages: ClassVar[tuple[str, ...]] = ("pyautoattack",)

    def perturbed(self, logits: Logits, units: Tensor, targets: Tensor, epsilon: float) -> Tensor:
        """Return the first inputs that fool the classifier, else those given."""
        from pyautoattack import AutoAttack as Standard

        images = _as_images(units)
        with torch.no_grad():
            classes = logits(units[:1]).shape[1]
        with _quiet():
            attack = Standard(
                _of_images(logits, units),
                eps=epsilon,
                seed=_seed(),
                device=units.device,
                version="custom",
                attacks=list(_parts(classes)),
            )
            # What the standard version sets.
            attack.apgd.n_restarts = attack.fab.n_restarts = 1
            attack.apgd_targeted.n_target_classes = min(TARGETS, classes - 1)
            attack.fab.n_target_classes = min(TARGETS, classes - 1)
            found, _ = attack.run_standard_evaluation(images, targets, batch_size=len(images))
        return _from_images(found, units)


def _parts(classes: int) -> tuple[str, ...]:
    targeted = {2: (), 3: ("apgd-dlr",)}.get(classes, ("apgd-t",))
    return ("apgd-ce", *targeted, "fab-t", "square")


@dataclass(frozen=True)
class Square(Attack):
    """Random search by squares, or by single features of what is no image, without any gradient
    (Andriushchenko et al. 2020), by pyautoattack.

    Attributes:
        queries: Of the model, for each sample.
    """

    name: ClassVar[str] = "Square"
    packages: ClassVar[tuple[str, ...]] = ("pyautoattack",)
    queries: Count = 1000

    def __post_init__(self) -> None:
        check_fields(self)

    def perturbed(self, logits: Logits, units: Tensor, targets: Tensor, epsilon: float) -> Tensor:
        """Return the inputs with the least margin found."""
        from pyautoattack.square import SquareAttack

        attack = SquareAttack(
            _of_images(logits, units),
            eps=epsilon,
            n_queries=self.queries,
            seed=_seed(),
            device=units.device,
        )
        with torch.no_grad():
            return _from_images(attack.perturb(_as_images(units), targets), units)


def _seed() -> int:
    """Return a seed drawn by the global generator: pyautoattack seeds it anew."""
    return int(torch.randint(2**31, ()))


def _as_images(units: Tensor) -> Tensor:
    """Return units as pyautoattack takes them, ``(n, channels, height, width)``.

    Other inputs are one row of pixels, with one more at its end: Square never moves the last one.
    """
    if units.dim() == 4:
        return units
    flat = units.flatten(1)  # (n, features)
    return torch.cat([flat, torch.zeros_like(flat[:, :1])], dim=1)[:, None, None]  # (n, 1, 1, f+1)


def _from_images(images: Tensor, units: Tensor) -> Tensor:
    """Return such images as units of the kind given."""
    if units.dim() == 4:
        return images
    return images[:, 0, 0, :-1].reshape(-1, *units.shape[1:])


def _of_images(logits: Logits, units: Tensor) -> Logits:
    """Return the classifier of such images."""
    return lambda images: logits(_from_images(images, units))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep pyautoattack's remarks off the terminal, and a tracer (a debugger's) in its place.

    It remarks on what it takes for a defence; `masked` asks that question by its own figures.
    """
    logger, tracer = logging.getLogger("auto-attack"), sys.gettrace()
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        sys.settrace(tracer)
