"""Error broadcast and decorrelation."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from beyondprop.engine.detach import Cut, Lesson
from beyondprop.errors import UserError
from beyondprop.rules.direct.reading import ReadingRule


@dataclass(frozen=True)
class ErrorBroadcastDecorrelation(ReadingRule):
    """Error broadcast and decorrelation: DFA by the correlation of a block's output and the error.

    The error of the best estimator is uncorrelated with every function of its input, so each block
    lowers ``½ |R_l|²``, with ``R_l ← λ R_l + (1 - λ) mean(e h_lᵀ)`` followed from batch to batch
    (Erdogan, Pehlevan and Erdogan 2025, equations 4 and 6, with ``g(h) = h``). Its gradient with
    respect to the output is ``e R_l`` times a constant (equation 7), which the paper leaves to a
    learning rate for each layer. Here ``R_l`` begins as ``σ`` times DFA's matrix, and the signal is
    ``e R_l / σ``: at first DFA's own. As ``R_l`` holds a square of the loss, scaling the loss
    changes what is learned.

    Against collapse there are the paper's two regularisers, both off by default: power
    normalisation (equation 9) and layer entropy (equation 11). For them each token of an output
    ``(batch, tokens, features)`` counts as a sample; of one with more dimensions, as 2-d
    convolutions have, each position, with the channels as features.

    Args:
        forgetting: λ; how much of the correlation is kept from one batch to the next.
        initial: σ; size of the random correlation to begin with, relative to DFA's matrix.
        power: Weight of ``Σ_i (mean(h_i²) - level)²``, whose gradient is added to the signal.
        level: Mean square of each feature that power normalisation aims at.
        entropy: Weight of ``½ log det(C + ε I)``, which is raised, with ``C`` followed as ``R`` is.
        epsilon: ε.
    """

    name: ClassVar[str] = "ebd"
    begins: ClassVar[frozenset[str]] = frozenset({"projection"})
    scales: ClassVar[bool] = False
    alone: ClassVar[str] = (
        "each would follow the correlations of its own share of the batch; use one process, or "
        "DirectFeedbackAlignment"
    )
    forgetting: float = 0.99999
    initial: float = 1e-2
    power: float = 0.0
    level: float = 0.25
    entropy: float = 0.0
    epsilon: float = 1e-2

    def __post_init__(self) -> None:
        if not 0 <= self.forgetting <= 1 or self.initial <= 0:
            raise UserError("forgetting= must lie between 0 and 1, and initial= above 0")

    def start(self, like: Tensor) -> dict[str, Tensor]:
        """Return empty correlations."""
        return {name: _precise(like) for name in ("feedback", "autocorrelation")}

    def made(self, cut: Cut, features: int, width: int, output: Tensor) -> Tensor:
        """Return the block's correlation; it begins small and random."""
        if not cut.state["feedback"].numel():
            like = _precise(cut.beside[0] if cut.beside else output)
            stream = self.projection.stream(cut.stream)
            begun = self.projection.matrix(features, width, stream, like)
            cut.state["feedback"] = begun * self.initial
        if self.entropy and not cut.state["autocorrelation"].numel():
            channels = _features_last(output).shape[-1]
            like = cut.state["feedback"]
            cut.state["autocorrelation"] = like.new_zeros(channels, channels)
        return cut.state["feedback"]

    def read(self, lesson: Lesson, cut: Cut, output: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the signal with what the regularisers add to it."""
        signal, _ = super().read(lesson, cut, output)
        if self.power or self.entropy:
            signal = signal + self._regularised(lesson, cut, output).to(signal.dtype)
        return signal, None

    def signal_from(
        self, lesson: Lesson, cut: Cut, error: Tensor, output: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Follow the correlation; return the error carried by it."""
        correlation = cut.state["feedback"]
        if lesson.training:
            # The error of a mean loss is divided by the samples already.
            correlation = self._followed(correlation, error.t() @ output)
            cut.state["feedback"] = correlation
        return (error / self.initial) @ correlation, None

    def _regularised(self, lesson: Lesson, cut: Cut, output: Tensor) -> Tensor:
        samples = _features_last(output)
        h = samples.reshape(-1, samples.shape[-1]).to(cut.state["feedback"].dtype)
        found = torch.zeros_like(h)
        if self.power:
            excess = h.square().mean(0) - self.level
            found += (4 * self.power / len(h)) * excess * h
        if self.entropy:
            correlation = cut.state["autocorrelation"]
            if lesson.training:
                correlation = self._followed(correlation, h.t() @ h / len(h))
                cut.state["autocorrelation"] = correlation
            regular = correlation + self.epsilon * torch.eye(len(correlation)).to(correlation)
            gain = self.entropy * (1 - self.forgetting) / len(h)
            found -= gain * torch.linalg.solve(regular, h.t()).t()
        found = found.view(samples.shape)
        return found if samples is output else found.movedim(-1, 1)

    def _followed(self, before: Tensor, now: Tensor) -> Tensor:
        return self.forgetting * before + (1 - self.forgetting) * now.detach()


def _precise(like: Tensor) -> Tensor:
    """Return an empty tensor: in half precision, what a batch adds would be rounded away."""
    return torch.empty(0, dtype=torch.promote_types(like.dtype, torch.float32), device=like.device)


def _features_last(output: Tensor) -> Tensor:
    """Return a block's output with its features last, as tokens and flat outputs have them."""
    return output if output.dim() <= 3 else output.movedim(1, -1)
