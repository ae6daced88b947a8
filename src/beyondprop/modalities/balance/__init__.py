"""Methods that keep modalities balanced while they are trained together.

Each changes only the gradients of a step: the network, the optimizer and the loop stay the same, so
that the methods' costs and gains can be compared.
"""

from beyondprop.modalities.balance.base import Balance, Balancing, Joint, Loss
from beyondprop.modalities.balance.blending import (
    JOINT,
    GradientBlending,
    Losses,
    blending_weights,
)
from beyondprop.modalities.balance.modulation import GradientModulation
from beyondprop.modalities.balance.pareto import MMPareto
from beyondprop.modalities.balance.teachers import UniModalTeachers
from beyondprop.registry import Registry, Spec

BALANCES: Registry[Balance] = Registry(
    "balance",
    Balance,
    {
        kind.name: kind
        for kind in (Joint, GradientBlending, GradientModulation, MMPareto, UniModalTeachers)
    },
    key="balance",
)
"""Every way to balance modalities by its short name."""


def make(spec: Spec | Balance) -> Balance:
    """Build a balance from its short name or ``my.module:attribute``, with optional arguments.

    Args:
        spec: See `beyondprop.registry.spec`: ``"mmpareto"``, ``"my.module:Mine"``, or
            ``{"balance": "gradient-modulation", "alpha": 0.3}``.

    Raises:
        UserError: There is no such balance, or an argument is unknown, missing or wrong.
    """
    return BALANCES.make(spec)


__all__ = [
    "BALANCES",
    "JOINT",
    "Balance",
    "Balancing",
    "GradientBlending",
    "GradientModulation",
    "Joint",
    "Loss",
    "Losses",
    "MMPareto",
    "UniModalTeachers",
    "blending_weights",
    "make",
]
