"""Fewer channels between the layers of a piece."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from beyondprop._torch.modules import learning_copy
from beyondprop.errors import UserError
from beyondprop.neighbourhoods.calls import Call
from beyondprop.neighbourhoods.candidates.base import Candidate
from beyondprop.neighbourhoods.candidates.graphs import traced
from beyondprop.neighbourhoods.candidates.layers import (
    bias,
    exact,
    is_depthwise,
    keep_channels,
    keep_inputs,
    keep_outputs,
    matrix,
    sizes,
)
from beyondprop.neighbourhoods.candidates.runs import Run, runs
from beyondprop.neighbourhoods.candidates.students import fitting
from beyondprop.registry import check_fields
from beyondprop.registry.limits import PositiveShare


@dataclass(frozen=True)
class Narrower(Candidate):
    """Prunes inner channels, which only layers within the piece write and read.

    Operations that treat each channel separately may come between these layers: activations, batch
    norms, pooling, dropout, depthwise convolutions, flattening, sums and products with other such
    layers. The widths of the piece's input and output do not change, nor do those of skip
    connections. The most important channels are kept, with the teacher's weights. A channel's
    importance is the norm of all weights that write it, including the bias and with the scale of a
    batch norm folded in, times the norm of all weights that read it.

    Args:
        share: The share of channels to keep in each place; 1 keeps all.
    """

    name: ClassVar[str] = "narrower"
    share: PositiveShare = 0.5

    def __post_init__(self) -> None:
        check_fields(self)

    def build(self, piece: nn.Module, call: Call) -> nn.Module:
        """Return a copy of the piece with fewer channels inside."""
        places, failed = _places(piece, call)
        if not places:
            why = f"; torch.fx could not trace all of it ({failed[:200]})" if failed else ""
            raise UserError(
                f"'narrower' finds no channels to remove in the {type(piece).__name__}: they must "
                "run from layer to layer through only activations, batch norms, pooling or "
                f"dropout, and nothing else may read them{why}"
            )
        student = learning_copy(piece)
        for run in places:
            narrow(student, run, max(1, round(self.share * run.channels)))
        return fitting(self.name, student, call)


def _places(piece: nn.Module, call: Call) -> tuple[list[Run], str]:
    """Return the runs of a piece, and why it was not traced completely; the copy is freed."""
    found = traced(piece, call)
    return runs(found), found.failed


def narrow(model: nn.Module, run: Run, count: int) -> None:
    """Keep the most important channels of a run, in their original order."""
    kept = importance(model, run).argsort(descending=True, stable=True)[:count].sort().values
    for name in run.writers:
        keep_outputs(model.get_submodule(name), kept)
    for name in run.between:
        keep_channels(model.get_submodule(name), kept)
    for name, block in run.readers.items():
        inputs = kept[:, None] * block + torch.arange(block)  # (channels, positions)
        keep_inputs(model.get_submodule(name), inputs.flatten())


def importance(model: nn.Module, run: Run) -> Tensor:
    """Return the importance of each channel of a run (channels,), in float64 on the CPU."""
    folded = {writer: norm for norm, writer in run.between.items() if writer}
    write, read = torch.zeros(2, run.channels, dtype=torch.float64)
    for name in run.writers:
        norm = model.get_submodule(folded[name]) if name in folded else None
        write += _rows(model.get_submodule(name), norm).square().sum(1)
    for name in run.readers:
        layer = model.get_submodule(name)
        columns = matrix(layer).reshape(sizes(layer)[0], run.channels, -1)
        read += columns.square().sum((0, 2))
    taps = [model.get_submodule(name) for name in run.between]
    scale = torch.ones(run.channels, dtype=torch.float64)
    for layer in filter(is_depthwise, taps):
        scale *= exact(layer.get_parameter("weight")).flatten(1).norm(dim=1)
    found: Tensor = (write * read).sqrt() * scale
    return found


def _rows(layer: nn.Module, norm: nn.Module | None) -> Tensor:
    """Return each output's weights and bias (outputs, weights + 1), with a norm folded in."""
    weights, offset = matrix(layer).flatten(1), bias(layer)
    if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
        scale, shift = torch.ones_like(offset), torch.zeros_like(offset)
        if norm.running_var is not None and norm.running_mean is not None:
            scale = (exact(norm.running_var) + norm.eps).rsqrt()
            shift = -exact(norm.running_mean) * scale
        if norm.affine:
            scale, shift = scale * exact(norm.weight), shift * exact(norm.weight) + exact(norm.bias)
        weights, offset = weights * scale[:, None], offset * scale + shift
    return torch.cat([weights, offset[:, None]], 1)
