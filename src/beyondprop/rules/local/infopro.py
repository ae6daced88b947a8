"""Information propagation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from beyondprop.core import At
from beyondprop.errors import UserError
from beyondprop.registry.limits import Count, NotNegative
from beyondprop.rules.local.auxiliary import AugLocal
from beyondprop.rules.local.heads import Head
from beyondprop.rules.local.objectives import CrossEntropy, Objective
from beyondprop.shapes import BATCH, NODES, UNSURE, channels_first


@dataclass(frozen=True)
class InfoPro(Objective):
    """Information propagation: classify, and keep information about the input.

    ``λ₁ |x - w(h)|² + λ₂ CE(φ(h), y)``: the reconstruction by a small decoder ``w`` keeps early
    blocks from discarding information that later ones need (Wang, Ni, Song, Yang and Huang 2021,
    equation 6, in the form with a softmax; the contrastive loss, the default of the released code,
    is not implemented). Both weights change linearly from the first block to the last; the paper
    chooses them for each network, from 0 to 20 and from 0 to 2. The decoder of the paper and its
    code ends in a sigmoid and minimises a binary cross-entropy, for pixels from 0 to 1; inputs here
    are standardised, so the last layer of the decoder is linear and the loss is a squared error.
    Images are averaged over patches and reconstructed at a maximum of ``side`` by ``side`` pixels:
    a decoder of all pixels, as in the paper, takes several times as long as a narrow block.

    Args:
        reconstruction: λ₁ of the first block and of the last.
        prediction: λ₂ of the first block and of the last.
        classifier: The cross-entropy, by default after one layer as wide as the block; the layers
            of the released code are ``CrossEntropy(PooledConvolution())``.
        channels: Number of hidden channels of the decoder.
        side: Maximum number of pixels along a side of the reconstruction.
    """

    name: ClassVar[str] = "infopro"
    reconstruction: tuple[NotNegative, NotNegative] = (1.0, 0.2)
    prediction: tuple[NotNegative, NotNegative] = (1.0, 1.0)
    classifier: CrossEntropy = field(default_factory=lambda: CrossEntropy(AugLocal(1, 1)))
    channels: Count = 12
    side: Count = 16

    def loss(self, at: At, head: Head, classes: int) -> Tensor:
        """Return the weighted sum."""
        reconstruction, prediction = (
            first + at.block.depth * (last - first)
            for first, last in (self.reconstruction, self.prediction)
        )
        classified = prediction * self.classifier.loss(at, head, classes)
        return classified + reconstruction * self._reconstruction(at, head)

    def parameters(self, depth: float) -> Sequence[str]:
        """Return the names of the decoder's and the classifier's parameters."""
        names = [f"decoder{i}.{part}" for i in (1, 2) for part in ("weight", "bias")]
        return (*names, *self.classifier.parameters(depth))

    def _reconstruction(self, at: At, head: Head) -> Tensor:
        x, h = at.run.inputs, at.output
        assert h is not None
        if x is None:
            raise UserError(
                "InfoPro reconstructs the model's input, but there is none: call the model with a "
                "tensor, and in a pipeline pass x and y to step(x, y) on every process"
            )
        if not x.is_floating_point():
            raise UserError(
                "InfoPro reconstructs the model's input, which must be a tensor of floats: use "
                "LocalLoss(PredSim()) for this model"
            )
        # The input's axes are unknown: assume that the batch is first if it is in the output.
        output = at.run.axes
        plain = output == UNSURE or output.groups[0] == (BATCH,)  # unsure ones have two axes
        if not plain or (NODES,) in at.block.axes.groups or len(x) != len(h):
            raise UserError(
                "InfoPro reconstructs the model's input sample by sample, but the first axis of "
                f"the output of block '{at.block.name}' is not that of the input's samples: use "
                "LocalLoss(PredSim()) for this model"
            )
        x = x.detach()
        if h.dim() == x.dim() == 4 and channels_first(h, at.axes):
            sides = min(self.side, x.shape[2]), min(self.side, x.shape[3])
            x = F.adaptive_avg_pool2d(x, sides)
            h = F.interpolate(h, sides, mode="bilinear", align_corners=True)
            hidden = head.convolution("decoder1", h, self.channels)
            hidden = F.relu(F.batch_norm(hidden, None, None, training=True))
            return F.mse_loss(head.convolution("decoder2", hidden, x.shape[1]), x)
        wanted = x.flatten(1)
        hidden = F.relu(head.linear("decoder1", h.flatten(1), self.channels * 10))
        return F.mse_loss(head.linear("decoder2", hidden, wanted.shape[1]), wanted)


REGISTERED = (InfoPro,)
