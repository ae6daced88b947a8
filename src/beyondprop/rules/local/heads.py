"""Heads: layers on a block for its own loss, whose sizes are known when the block has run."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.parameter import UninitializedParameter

from beyondprop.core import At, Block
from beyondprop.errors import UserError
from beyondprop.projections import Projection
from beyondprop.random.streams import stream_of

CONVOLUTIONS = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}


def empty_head(block: Block, names: Sequence[str]) -> dict[str, Tensor]:
    """Return the parameters of a head, without shapes."""
    like = next((p.detach() for _, p in block.parameters() if p.requires_grad), torch.empty(0))
    parameter: Any = UninitializedParameter
    return {name: parameter(device=like.device, dtype=like.dtype) for name in names}


class Head:
    """The layers of one block's head, created in the first pass.

    Initial weights are Gaussian with the variance of PyTorch's layers, 1 / (3 fan-in); factors of a
    normalisation are one, biases zero.

    Args:
        at: The end of the block, whose state holds the head's parameters.
        projection: Draws the initial weights.
    """

    def __init__(self, at: At, projection: Projection) -> None:
        self.at, self.projection = at, projection

    def linear(self, name: str, x: Tensor, features: int, bias: bool = True) -> Tensor:
        """Return a linear layer's output, ``(..., features)``."""
        weight = self._made(f"{name}.weight", (features, x.shape[-1]), x)
        return F.linear(x, weight, self._made(f"{name}.bias", (features,), x) if bias else None)

    def convolution(
        self, name: str, x: Tensor, channels: int, size: int = 3, stride: int = 1, bias: bool = True
    ) -> Tensor:
        """Return a convolution's output, ``(batch, channels, ...)``.

        Its sides are those of the input, divided by the stride.
        """
        shape = (channels, x.shape[1], *[size] * (x.dim() - 2))
        weight = self._made(f"{name}.weight", shape, x)
        added = self._made(f"{name}.bias", (channels,), x) if bias else None
        made: Tensor = CONVOLUTIONS[x.dim()](x, weight, added, stride, padding=size // 2)
        return made

    def normalisation(self, name: str, x: Tensor) -> Tensor:
        """Return the batch normalisation of ``(batch, channels, ...)``.

        A factor and a bias per channel are learned.
        """
        factors = self._made(f"{name}.weight", (x.shape[1],), x)
        biases = self._made(f"{name}.bias", (x.shape[1],), x)
        return F.batch_norm(x, None, None, factors, biases, training=True)

    def _made(self, name: str, shape: Sequence[int], x: Tensor) -> Tensor:
        """Return a parameter, created with this shape if it had none."""
        parameter = self.at.state[name]
        if isinstance(parameter, UninitializedParameter):
            # Like the block's parameters: a pickle of an empty parameter loses dtype and device.
            learned = (p for _, p in self.at.block.parameters() if p.requires_grad)
            like = next(learned, x)
            parameter.materialize(tuple(shape), like.device, like.dtype)
            self._fill(name, parameter)
        if parameter.shape != torch.Size(shape):
            raise UserError(
                f"the local head of a block has a parameter '{name}' of shape "
                f"{tuple(parameter.shape)}, but this pass needs {tuple(shape)}: a block with its "
                "own loss must return tensors of the same size in every pass"
            )
        return parameter

    @torch.no_grad()
    def _fill(self, name: str, parameter: Tensor) -> None:
        if parameter.dim() == 1:
            parameter.fill_(float(name.endswith(".weight")))
            return
        fan_in, fan_out = parameter[0].numel(), parameter.shape[0]
        stream = stream_of(f"{self.at.block.stream}.{name}")
        drawn = self.projection.matrix(fan_in, fan_out, stream, parameter.detach())
        scale = (fan_out / (3 * fan_in)) ** 0.5  # entries' standard deviation: fan_out ** -0.5
        parameter.copy_(drawn.t().reshape(parameter.shape) * scale)
