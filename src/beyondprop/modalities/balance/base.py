"""What a balance is, and the plain one."""

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
"""(outputs, targets) to a scalar, a mean over samples."""


class Balancing(ABC):
    """What happens in each step of one network's training."""

    @property
    def modules(self) -> Sequence[nn.Module]:
        """What learns besides the network; the optimizer must hold it too."""
        return ()

    @abstractmethod
    def differentiate(self, inputs: Mapping[str, Any], targets: Any) -> Tensor:
        """Add a batch's gradients to those of all parameters, and return the joint loss, detached.

        If a rule that is attached to the network needs targets, it gets them.

        Args:
            inputs: What the network is called with, by name.
            targets: Of all samples: a tensor, or a container of tensors.

        Raises:
            UserError: The method cannot be applied to this network, this batch or under the rule
                that is attached to the network.
        """


class Balance(ABC):
    """How a step treats modalities that learn at different rates.

    Attributes:
        name: Short, for the command line and records.
        needs: Names of fields that hold what other networks must be trained for, before `begin`.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def begin(self, network: MultimodalNetwork, heads: nn.ModuleDict, loss: Loss) -> Balancing:
        """Return what happens in each step of a network's training.

        Args:
            network: That is trained.
            heads: A head for each modality by itself, from its vector, ``(batch, width)``, to
                outputs of the task's form.
            loss: Of outputs of that form.

        Raises:
            UserError: The method cannot be applied to this network, or a field that it needs is
                missing.
        """

    def settings(self) -> dict[str, Any]:
        """Return what is needed to build the same balance again, as JSON values."""
        return settings(self, "balance")


@dataclass(frozen=True)
class Joint(Balance):
    """The plain one: the network learns by its own loss alone."""

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
        """Go back through the network once."""
        outputs = called(self.network, inputs, targets)
        loss = joint_loss(self.network, self.loss, outputs, targets)
        loss.backward()
        return loss.detach()
