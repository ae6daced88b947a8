"""The interface of a balance, and plain joint training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from beyondprop.modalities.balance.steps import called, joint_loss
from beyondprop.modalities.network import MultimodalNetwork
from beyondprop.registry import check_fields
from beyondprop.registry.settings import settings

Loss = Callable[[Any, Any], Tensor]
"""Maps (outputs, targets) to a scalar, a mean over samples."""


class Balancing(ABC):
    """The steps of one network's training."""

    @property
    def modules(self) -> Sequence[nn.Module]:
        """Modules that learn in addition to the network; the optimizer must hold them too."""
        return ()

    @abstractmethod
    def differentiate(self, inputs: Mapping[str, Any], targets: Any) -> Tensor:
        """Add a batch's gradients to those of all parameters, and return the joint loss, detached.

        A rule that is attached to the network receives the targets if it needs them.

        Args:
            inputs: The network's inputs, by name.
            targets: The targets of all samples: a tensor, or a container of tensors.

        Raises:
            UserError: The method cannot be applied to this network, this batch or under the rule
                that is attached to the network.
        """


class Balance(ABC):
    """How a step treats modalities that learn at different rates.

    Attributes:
        name: The short name for the command line and records.
        needs: Fields whose values require other networks to be trained before `begin`.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def begin(self, network: MultimodalNetwork, heads: nn.ModuleDict, loss: Loss) -> Balancing:
        """Return the steps of a network's training.

        Args:
            network: The network to train.
            heads: A head for each modality alone, which maps its vector, ``(batch, width)``, to
                outputs of the task's form.
            loss: The loss of outputs of that form.

        Raises:
            UserError: The method cannot be applied to this network, or a field that it needs is
                missing.
        """

    def settings(self) -> dict[str, Any]:
        """Return the settings that build the same balance again, as JSON values."""
        return settings(self, "balance")


@dataclass(frozen=True)
class Joint(Balance):
    """Plain joint training: the network learns from its own loss alone."""

    name: ClassVar[str] = "joint"

    def begin(self, network: MultimodalNetwork, heads: nn.ModuleDict, loss: Loss) -> Balancing:
        """Return ordinary steps; the heads are not used."""
        del heads
        return JointSteps(network, loss)


@dataclass(frozen=True)
class JointSteps(Balancing):
    """Ordinary steps."""

    network: MultimodalNetwork
    loss: Loss

    def differentiate(self, inputs: Mapping[str, Any], targets: Any) -> Tensor:
        """Run one backward pass through the network."""
        outputs = called(self.network, inputs, targets)
        loss = joint_loss(self.network, self.loss, outputs, targets)
        loss.backward()
        return loss.detach()
