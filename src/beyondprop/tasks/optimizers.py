"""Optimizers by name, for comparisons that try several."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from beyondprop.registry import Registry


class OptimizerFactory(ABC):
    """Creates an optimizer for the parameters of a run.

    Attributes:
        usual_rate: A learning rate from which a search may start.
    """

    usual_rate: float

    @abstractmethod
    def __call__(self, parameters: Iterable[Parameter], learning_rate: float) -> Optimizer:
        """Return an optimizer for these parameters with this learning rate."""


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
        weight_decay: The share of a weight that a step removes, divided by the learning rate.
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
        momentum: The share of the previous step that is added to the next one.
        weight_decay: Added to the gradient, as a share of the weight.
        nesterov: Whether to use Nesterov momentum (Nesterov 1983).
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
"""The default optimizer of tasks."""

OPTIMIZERS: Registry[OptimizerFactory] = Registry(
    "optimizer",
    OptimizerFactory,
    {"adam": Adam, "adamw": AdamW, "sgd": Sgd},
    key="optimizer",
)
"""All registered optimizers by name."""
