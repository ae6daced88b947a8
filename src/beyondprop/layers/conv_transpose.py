"""Transposed convolutions with a modified backward pass."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.layers.conv import convolution
from beyondprop.layers.feedback import AtWeights, taught


class _FeedbackConvTranspose:
    """The forward pass that the classes below share."""

    _feedback: AtWeights

    @staticmethod
    def inputs_of(layer: Any) -> dict[str, int]:
        """Return the number of inputs that an output sums over (at stride 1), by weight."""
        return {"weight": layer.in_channels // layer.groups * math.prod(layer.kernel_size)}

    def forward(self: Any, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Return the layer's output; in the backward pass the rule's matrix replaces the weight."""
        if not taught(self, input):
            return super().forward(input, output_size)  # type: ignore[misc, no-any-return]
        weight = self.weight  # read once: spectral norm takes a step at each access
        x = input if input.dim() == weight.dim() else input.unsqueeze(0)
        extra = self.output_padding if output_size is None else self._extra(input, output_size)
        layout = (self.stride, self.padding, self.dilation, True, extra, self.groups)
        output = convolution(x, weight, self.bias, self._feedback["weight"], layout)
        return output if x is input else output.squeeze(0)

    def _extra(self: Any, x: Tensor, output_size: Sequence[int]) -> list[int]:
        """Return the output padding that gives the output this size."""
        spatial = x.shape[-len(self.kernel_size) :]
        leading = x.dim() - len(spatial) if len(output_size) == x.dim() else 0
        wanted = output_size[leading:]
        least = [
            (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1
            for size, stride, padding, dilation, kernel in zip(
                spatial, self.stride, self.padding, self.dilation, self.kernel_size, strict=True
            )
        ]
        extra = [size - low for size, low in zip(wanted, least, strict=False)]
        within = all(0 <= e < stride for e, stride in zip(extra, self.stride, strict=False))
        if len(wanted) != len(least) or not within:
            raise UserError(
                f"output_size {tuple(output_size)} cannot be reached from an input of shape "
                f"{tuple(x.shape)}: sizes begin at {tuple(least)} and end before a stride more"
            )
        return extra


class FeedbackConvTranspose1d(_FeedbackConvTranspose, nn.ConvTranspose1d):
    """A transposed 1-d convolution under a `LayerRule`; made by swapping a class."""


class FeedbackConvTranspose2d(_FeedbackConvTranspose, nn.ConvTranspose2d):
    """A transposed 2-d convolution under a `LayerRule`; made by swapping a class."""


class FeedbackConvTranspose3d(_FeedbackConvTranspose, nn.ConvTranspose3d):
    """A transposed 3-d convolution under a `LayerRule`; made by swapping a class."""
