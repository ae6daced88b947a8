"""Error broadcast and decorrelation."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from beyondprop._torch.finite import finite_or
from beyondprop.core import At, Block, Traits
from beyondprop.registry.limits import NotNegative, Positive, Share
from beyondprop.rules.direct.learned import LEARNED, LearnedDirectFeedback, like_of
from beyondprop.shapes import features_axis, features_last


@dataclass(frozen=True)
class ErrorBroadcastDecorrelation(LearnedDirectFeedback):
    """Error broadcast and decorrelation: DFA with correlations of a block's output and the error.

    The error of the best estimator is uncorrelated with every function of its input. Therefore each
    block minimises ``½ |R_l|²``, with the running mean ``R_l ← λ R_l + (1 - λ) mean(e h_lᵀ)``
    (Erdogan, Pehlevan and Erdogan 2025, equations 4 and 6, with ``g(h) = h``). Its gradient with
    respect to the output is ``e R_l`` times a constant (equation 7), which the paper absorbs into a
    learning rate per layer. Here ``R_l`` is initialised as ``σ`` times DFA's matrix, and the signal
    is ``e R_l / σ``, which at first is DFA's. As ``R_l`` contains a square of the loss, scaling the
    loss changes what is learned.

    The paper's two regularisers against collapse, both off by default, are power normalisation
    (equation 9) and layer entropy (equation 11). They count each token of an output
    ``(batch, tokens, features)`` as a sample; of an output with more dimensions, as from 2-d
    convolutions, they count each position, with the channels as features.

    Args:
        forgetting: λ; fraction of the correlation that is kept from one batch to the next.
        initial: σ; initial size of the random correlation, relative to DFA's matrix.
        power: Weight of ``Σ_i (mean(h_i²) - level)²``, whose gradient is added to the signal.
        level: Target of power normalisation for the mean square of each feature.
        entropy: Weight of ``½ log det(C + ε I)``, which is maximised; ``C`` is a running mean like
            ``R``.
        epsilon: ε.
    """

    name: ClassVar[str] = "ebd"
    traits: ClassVar[Traits] = LEARNED.but(
        scales_with_loss=False,
        alone=(
            "each would estimate the correlations of its own part of the batch; use one process, "
            "or DirectFeedbackAlignment"
        ),
    )
    forgetting: Share = 0.99999
    initial: Positive = 1e-2
    power: NotNegative = 0.0
    level: NotNegative = 0.25
    entropy: NotNegative = 0.0
    epsilon: Positive = 1e-2

    def start(self, block: Block) -> dict[str, Tensor]:
        """Return empty correlations."""
        like = like_of(block, torch.empty(0))
        return {name: _precise(like) for name in ("feedback", "autocorrelation")}

    def make(self, at: At, features: int, width: int) -> Tensor:
        """Return the block's correlation, which is initialised with small random values."""
        output = at.output
        assert output is not None
        if not at.state["feedback"].numel():
            like = _precise(like_of(at.block, output))
            at.state["feedback"] = self.begun(at, features, width, like) * self.initial
        if self.entropy and not at.state["autocorrelation"].numel():
            channels = features_last(output, at.block.axes).shape[-1]
            like = at.state["feedback"]
            at.state["autocorrelation"] = like.new_zeros(channels, channels)
        return at.state["feedback"]

    def signal(self, at: At) -> Tensor:
        """Return the signal with the gradients of the regularisers."""
        output = at.output
        signal = super().signal(at)
        if output is not None and (self.power or self.entropy):
            signal = signal + self._regularised(at, output).to(signal.dtype)
        at.run.shared[type(self), id(at)] = True  # updated in this pass
        return signal

    def carried(self, at: At, error: Tensor, output: Tensor) -> Tensor:
        """Update the correlation; return its product with the error."""
        correlation = at.state["feedback"]
        if self._follows(at):
            # The error of a mean loss is divided by the samples already.
            correlation = self._followed(correlation, error.t() @ output)  # (features, width)
            at.state["feedback"] = correlation
        return (error / self.initial) @ correlation

    def _regularised(self, at: At, output: Tensor) -> Tensor:
        samples = features_last(output, at.block.axes)  # (batch, positions, channels)
        h = samples.reshape(-1, samples.shape[-1]).to(at.state["feedback"].dtype)
        found = torch.zeros_like(h)
        if self.power:
            excess = h.square().mean(0) - self.level
            found += (4 * self.power / len(h)) * excess * h
        if self.entropy:
            correlation = at.state["autocorrelation"]
            if self._follows(at):
                correlation = self._followed(correlation, h.t() @ h / len(h))
                at.state["autocorrelation"] = correlation
            regular = correlation + self.epsilon * torch.eye(len(correlation)).to(correlation)
            gain = self.entropy * (1 - self.forgetting) / len(h)
            found -= gain * torch.linalg.solve(regular, h.t()).t()
        found = found.view(samples.shape)
        return found.movedim(-1, features_axis(output, at.block.axes))

    def _follows(self, at: At) -> bool:
        """Whether to update the correlations: in training, in a pass's first backward pass."""
        return at.run.training and (type(self), id(at)) not in at.run.shared

    def _followed(self, before: Tensor, now: Tensor) -> Tensor:
        followed = self.forgetting * before + (1 - self.forgetting) * now.detach()
        return finite_or(followed, before)


def _precise(like: Tensor) -> Tensor:
    """Return an empty tensor in single precision at least; half would round small updates away."""
    return torch.empty(0, dtype=torch.promote_types(like.dtype, torch.float32), device=like.device)


REGISTERED = (ErrorBroadcastDecorrelation,)
