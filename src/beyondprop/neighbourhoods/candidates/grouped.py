"""Grouped convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import nn

from beyondprop._torch.modules import learning_copy
from beyondprop.errors import UserError
from beyondprop.neighbourhoods.calls import Call
from beyondprop.neighbourhoods.candidates.base import Candidate
from beyondprop.neighbourhoods.candidates.layers import is_convolution, sizes, tapped
from beyondprop.neighbourhoods.candidates.students import exchanged, fitting, written
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Limits


@dataclass(frozen=True)
class Grouped(Candidate):
    """Replaces each convolution by a grouped one: a group's outputs read only the group's inputs.

    It starts with the diagonal blocks of the teacher's weights. A convolution is not replaced if
    its channels cannot be divided into the groups, as in the first layer of a network for images.

    Args:
        groups: The number of groups, by which the number of weights is divided.
    """

    name: ClassVar[str] = "grouped"
    groups: Annotated[int, Limits(2)] = 2

    def __post_init__(self) -> None:
        check_fields(self)

    def build(self, piece: nn.Module, call: Call) -> nn.Module:
        """Return a copy of the piece with grouped convolutions."""
        student, count = exchanged(learning_copy(piece), self._in_groups)
        if not count:
            raise UserError(
                f"'grouped' finds no convolution in the {type(piece).__name__} whose inputs and "
                f"outputs can both be divided into {self.groups} groups"
            )
        return fitting(self.name, student, call)

    def _in_groups(self, layer: nn.Module) -> nn.Module | None:
        if not is_convolution(layer) or any(size % self.groups for size in sizes(layer)):
            return None
        outputs, inputs = (size // self.groups for size in sizes(layer))
        weight = layer.get_parameter("weight")
        blocks = [
            weight[group * outputs : (group + 1) * outputs, group * inputs : (group + 1) * inputs]
            for group in range(self.groups)
        ]
        made = tapped(layer, len(weight), self.groups, bias=layer.bias is not None)
        return written(made, layer, weight=torch.cat(blocks), offset=layer.bias)
