"""Uni-modal teachers: encoders stay close to encoders that were trained alone."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from beyondprop._torch.calling import call
from beyondprop.errors import UserError
from beyondprop.modalities.balance.base import Balance, Balancing, Loss
from beyondprop.modalities.balance.steps import Pass, check_reached, joint_loss, rows_of, run
from beyondprop.modalities.network import MultimodalNetwork
from beyondprop.registry.limits import Positive


@dataclass(frozen=True)
class UniModalTeachers(Balance):
    """Keeps each encoder's features close to those of an encoder that was trained alone (UMT).

    ``L = L(head(fusion(z_1, …, z_M)), y) + weight Σ_m |h_m - t_m|² / features``, means over
    samples, where ``t_m`` are the features of modality ``m``'s teacher. Du et al., "On uni-modal
    feature learning in supervised multi-modal learning", ICML 2023; first in Du et al., "Improving
    multi-modal learning with uni-modal teachers", arXiv 2106.11059. BalanceBenchmark (arXiv
    2502.10816) divides by the number of features as well.

    A modality's distance is a mean over the samples that have it; if none has it, its teacher does
    not run. Teachers are copied and stay fixed, in eval mode, even if the network's encoders are
    initially the same modules.

    Args:
        weight: The weight of the distances.
        teachers: For each modality, an encoder that was trained alone and returns features of the
            same shape.
    """

    name: ClassVar[str] = "uni-modal-teachers"
    needs: ClassVar[frozenset[str]] = frozenset({"teachers"})
    weight: Positive = 1.0
    teachers: Mapping[str, nn.Module] | None = None

    def begin(self, network: MultimodalNetwork, heads: nn.ModuleDict, loss: Loss) -> Balancing:
        """Return steps with the distances to the teachers; the heads are not used.

        Raises:
            UserError: There are no teachers, or they name other modalities.
        """
        del heads
        if self.teachers is None:
            raise UserError(
                "uni-modal-teachers has no teachers: train an encoder for each modality alone, and "
                "give them as teachers="
            )
        if set(self.teachers) != set(network.modalities):
            raise UserError(
                f"the teachers are of {', '.join(self.teachers)}, but must be of "
                f"{', '.join(network.modalities)}"
            )
        copies = {name: deepcopy(each) for name, each in self.teachers.items()}
        return TaughtSteps(network, loss, self.weight, nn.ModuleDict(copies).eval())

    def settings(self) -> dict[str, Any]:
        """Return the settings that build the same balance again, except the teachers."""
        return {"balance": self.name, "weight": self.weight}


@dataclass(frozen=True)
class TaughtSteps(Balancing):
    """Steps with the distances to the teachers."""

    network: MultimodalNetwork
    loss: Loss
    weight: float
    teachers: nn.ModuleDict

    def differentiate(self, inputs: Mapping[str, Any], targets: Any) -> Tensor:
        """Run one backward pass from the joint loss plus the weighted distances."""
        check_reached(self.network, UniModalTeachers.name)
        ran = run(self.network, inputs, targets)
        joint = joint_loss(self.network, self.loss, ran.outputs, targets)
        (joint + self.weight * self.distances(ran, inputs)).backward()
        return joint.detach()

    def distances(self, ran: Pass, inputs: Mapping[str, Any]) -> Tensor:
        """Return the sum of the modalities' mean squared distances.

        Raises:
            UserError: A teacher returns features of another shape.
        """
        found = []
        for name, rows in ran.having(self.network).items():
            own = rows_of(ran.hidden[name], rows)  # (rows, features)
            with torch.no_grad():
                taught = call(self.teachers[name], rows_of(inputs[name], rows))
            if not isinstance(taught, Tensor) or taught.shape != own.shape:
                what = tuple(taught.shape) if isinstance(taught, Tensor) else type(taught).__name__
                raise UserError(
                    f"the teacher of '{name}' returns {what}, and the encoder {tuple(own.shape)}: "
                    "give a teacher that returns features of the encoder's shape"
                )
            found.append(mse_loss(own, taught))
        return torch.stack(found).sum()
