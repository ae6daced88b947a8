"""AutoAttack: several attacks, each on the samples that the previous ones did not fool."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from beyondprop.audit.logits import Logits
from beyondprop.audit.robustness.attacks.base import Attack
from beyondprop.audit.robustness.attacks.images import as_images, drawn_seed, from_images, of_images

TARGETS = 9
"""Maximum number of target classes that are tried in turn."""


@dataclass(frozen=True)
class AutoAttack(Attack):
    """APGD, targeted APGD, targeted FAB and Square, each on the samples that remain (Croce and Hein
    2020), by pyautoattack, the standard version.

    With three classes or fewer the targeted loss is undefined, so APGD's other loss replaces it;
    with two classes that one is left out too.
    """

    name: ClassVar[str] = "AutoAttack"
    packages: ClassVar[tuple[str, ...]] = ("pyautoattack",)

    def perturbed(self, logits: Logits, units: Tensor, targets: Tensor, epsilon: float) -> Tensor:
        """Return the first inputs that fool the classifier, otherwise the given ones."""
        from pyautoattack import AutoAttack as Standard

        images = as_images(units)
        with torch.no_grad():
            classes = logits(units[:1]).shape[1]
        with _quiet():
            attack = Standard(
                of_images(logits, units),
                eps=epsilon,
                seed=drawn_seed(),
                device=units.device,
                version="custom",
                attacks=list(_parts(classes)),
            )
            # The settings of the standard version.
            attack.apgd.n_restarts = attack.fab.n_restarts = 1
            attack.apgd_targeted.n_target_classes = min(TARGETS, classes - 1)
            attack.fab.n_target_classes = min(TARGETS, classes - 1)
            found, _ = attack.run_standard_evaluation(images, targets, batch_size=len(images))
        return from_images(found, units)


def _parts(classes: int) -> tuple[str, ...]:
    targeted = {2: (), 3: ("apgd-dlr",)}.get(classes, ("apgd-t",))
    return ("apgd-ce", *targeted, "fab-t", "square")


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress pyautoattack's messages, and restore the tracer (of a debugger) afterwards.

    The messages report suspected defences; `masking` answers that question with its own figures.
    """
    logger, tracer = logging.getLogger("auto-attack"), sys.gettrace()
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        sys.settrace(tracer)
