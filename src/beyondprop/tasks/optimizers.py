"""Optimizers by name, for comparisons that try several."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from beyondprop.registry import Registry


class OptimizerFactory(ABC):
    """Makes an optimizer of what a run trains.

    Attributes:
        usual_rate: A learning rate around which a search may begin.
    """

    usual_rate: float

    @abstractmethod
    def __call__(self, parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
        """Return an optimizer of these parameters, at this learning rate."""


@dataclass(frozen=True)
class Adam(OptimizerFactory):
    """Adam (Kingma and Ba 2015).

    Args:
        weight_decay: Added to the gradient, as a share of the weight.
    """

    weight_decay: float = 0.0
    usual_rate = 1e-3

    def __call__(self, parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
        """Return the optimizer; see `OptimizerFactory`."""
        return torch.optim.Adam(parameters, learning_rate, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class AdamW(OptimizerFactory):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    Args:
        weight_decay: The share of a weight that a step takes away, times the learning rate.
    """

    weight_decay: float = 0.01
    usual_rate = 1e-3

    def __call__(self, parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
        """Return the optimizer; see `OptimizerFactory`."""
        return torch.optim.AdamW(parameters, learning_rate, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class Sgd(OptimizerFactory):
    """Stochastic gradient descent with momentum.

    Args:
        momentum: The share of the last step that the next one adds.
        weight_decay: Added to the gradient, as a share of the weight.
        nesterov: Whether the gradient is taken where the momentum leads (Nesterov 1983).
    """

    momentum: float = 0.9
    weight_decay: float = 0.0
    nesterov: bool = False
    usual_rate = 0.03

    def __call__(self, parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
        """Return the optimizer; see `OptimizerFactory`."""
        return torch.optim.SGD(
            parameters,
            learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov,
        )


ADAM = Adam()
"""The optimizer of a task that names none."""

OPTIMIZERS: Registry[OptimizerFactory] = Registry(
    "optimizer",
    OptimizerFactory,
    {"adam": Adam, "adamw": AdamW, "sgd": Sgd},
    key="optimizer",
)
"""Every registered optimizer by its name."""
