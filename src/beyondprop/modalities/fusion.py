"""Ways to fuse the encoders' features; a missing modality does not contribute.

Each fusion first maps the features of every modality to vectors of one width, ``z_m = P_m h_m``,
which are zeros where the modality is missing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from beyondprop.errors import UserError, check_type


class Fusion(nn.Module, ABC):
    """Fuses the features of modalities.

    Args:
        widths: The number of features of each modality, by name, in order.
        width: The width of each modality's vector.

    Attributes:
        features: The number of features that it returns.

    Raises:
        UserError: A width is not above zero, there is no modality, or a name can't be
            a module's.
    """

    features: int

    def __init__(self, widths: Mapping[str, int], width: int) -> None:
        super().__init__()
        check_type("the widths", widths, Mapping, "a mapping of names to whole numbers")
        for each in (width, *widths.values()):
            check_type("a width", each, int, "a whole number")
        if not widths or min(width, *widths.values()) < 1:
            raise UserError(f"a fusion needs widths above 0, not {dict(widths)} and {width}")
        check_names(widths)
        self.widths, self.width = dict(widths), width
        self.project = nn.ModuleDict({name: nn.Linear(own, width) for name, own in widths.items()})

    def forward(self, hidden: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Return the head's input.

        Args:
            hidden: The features, ``(batch, features)``, of each modality that is given.
            present: Which modalities each sample has, ``(batch, modalities)`` bool; at least one.

        Returns:
            ``(batch, features)``.
        """
        return self.joined(self.vectors(hidden, present), present)

    def trust(self, hidden: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Return the weight of each modality, ``(batch, modalities)``; each row sums to one.

        Raises:
            UserError: This fusion has no weights of modalities.
        """
        found = self.weights(self.vectors(hidden, present), present)
        if found is None:
            raise UserError(
                f"{type(self).__name__} has no weight for each modality: use Attention, Gating or "
                "CrossAttention"
            )
        return found

    def vectors(self, hidden: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Return the vector of each modality, ``(batch, modalities, width)``."""
        like = next(iter(hidden.values()))
        nothing = like.new_zeros(len(like), self.width)
        found = [
            self.project[name](hidden[name]) if name in hidden else nothing for name in self.widths
        ]
        return torch.where(present[..., None], torch.stack(found, 1), like.new_zeros(()))

    @abstractmethod
    def joined(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Return the head's input, ``(batch, features)``.

        Args:
            vectors: ``(batch, modalities, width)``, zeros where a modality is missing.
            present: ``(batch, modalities)`` bool.
        """

    def weights(self, vectors: Tensor, present: Tensor) -> Tensor | None:
        """Return the weight of each modality, ``(batch, modalities)``, or None if there is none."""
        del vectors, present
        return None


def check_names(names: Iterable[str]) -> None:
    """Raise unless the names of modalities can name modules and keyword arguments.

    Raises:
        UserError: A name can't.
    """
    for name in names:
        if not isinstance(name, str) or not name or "." in name:
            raise UserError(
                f"a modality can't be named {name!r}: choose a text without dots, as the name "
                "becomes part of parameters' names"
            )
        if name == "self" or hasattr(nn.ModuleDict(), name):
            raise UserError(
                f"a modality can't be named '{name}', which PyTorch's modules use internally: "
                f"name it '{name}_input', for example"
            )


class Attention(Fusion):
    """One weight for each modality of a sample: ``α = softmax_m(v_mᵀ tanh(U [z_1; …; z_M]))``.

    The head's input is ``[α_1 z_1; …; α_M z_M]``. Ismail, Hasan and Ishtiaq, "Improving multimodal
    accuracy through modality pre-training and attention", arXiv 2011.06102.

    Args:
        widths: The number of features of each modality, by name, in order.
        width: The width of each modality's vector.
        hidden: The number of rows of ``U``; `width` by default.
    """

    def __init__(self, widths: Mapping[str, int], width: int, hidden: int | None = None) -> None:
        super().__init__(widths, width)
        self.features = len(widths) * width
        self.mix = nn.Linear(self.features, hidden or width)
        self.score = nn.Linear(hidden or width, len(widths), bias=False)

    def joined(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Return the weighted vectors, concatenated."""
        return (self.weights(vectors, present)[..., None] * vectors).flatten(1)

    def weights(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Return α, which is exactly zero if a modality is missing."""
        scores: Tensor = self.score(self.mix(vectors.flatten(1)).tanh())  # (batch, modalities)
        return scores.masked_fill(~present, -torch.inf).softmax(-1)


class Concatenation(Fusion):
    """The vectors, concatenated."""

    def __init__(self, widths: Mapping[str, int], width: int) -> None:
        super().__init__(widths, width)
        self.features = len(widths) * width

    def joined(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Return the concatenated vectors."""
        del present
        return vectors.flatten(1)


class Gating(Fusion):
    """A gate for each feature of each modality: ``Σ_m σ(G_m [z_1; …; z_M]) * tanh(z_m)``.

    Arevalo et al., "Gated multimodal units for information fusion", arXiv 1702.01992, for
    any number of modalities. A modality's weight is its share in the sum of all gates.
    """

    def __init__(self, widths: Mapping[str, int], width: int) -> None:
        super().__init__(widths, width)
        self.features = width
        self.gate = nn.Linear(len(widths) * width, len(widths) * width)

    def joined(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Return the sum of the gated vectors."""
        return (self._gates(vectors, present) * vectors.tanh()).sum(1)

    def weights(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Return the mean gate of each modality, divided by the sum over modalities."""
        open_ = self._gates(vectors, present).mean(-1)  # (batch, modalities)
        return open_ / open_.sum(1, keepdim=True)

    def _gates(self, vectors: Tensor, present: Tensor) -> Tensor:
        gates: Tensor = self.gate(vectors.flatten(1)).sigmoid()
        return gates.view_as(vectors) * present[..., None]


class LowRankTensor(Fusion):
    """The outer product of all vectors, each with a one appended, times a tensor of low rank.

    Liu et al., "Efficient low-rank multimodal fusion with modality-specific factors", ACL 2018,
    ``Σ_r Π_m W_m^r [z_m; 1]``. A missing modality contributes only its constant factor.

    Args:
        widths: The number of features of each modality, by name, in order.
        width: The width of each modality's vector and of the result.
        rank: The rank of the tensor.
    """

    def __init__(self, widths: Mapping[str, int], width: int, rank: int = 4) -> None:
        super().__init__(widths, width)
        self.features = width
        self.factors = nn.ModuleList(nn.Linear(width, rank * width) for _ in widths)
        self.combine = nn.Linear(rank, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))

    def joined(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Return the sum over ranks of the products over modalities."""
        del present
        made = [
            factor(each).unflatten(-1, (-1, self.width))  # (batch, rank, width)
            for factor, each in zip(self.factors, vectors.unbind(1), strict=True)
        ]
        product = torch.stack(made).prod(0)
        summed: Tensor = self.combine(product.mT)
        return summed.squeeze(-1) + self.bias


class CrossAttention(Fusion):
    """Every modality attends to all: one layer of attention with modalities as tokens.

    As in Tsai et al., "Multimodal transformer for unaligned multimodal language sequences", ACL
    2019, on one vector for each modality; the attention's output is added to the modality's own
    vector. A modality's weight is the mean attention that it gets from the modalities that are
    present.

    Args:
        widths: The number of features of each modality, by name, in order.
        width: The width of each modality's vector.
        heads: The number of attention heads.
    """

    def __init__(self, widths: Mapping[str, int], width: int, heads: int = 2) -> None:
        super().__init__(widths, width)
        if width % heads:
            raise UserError(f"a width of {width} is not divisible by {heads} heads")
        self.features = len(widths) * width
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def joined(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Return each modality's vector plus its attention output, concatenated."""
        read, _ = self.attention(vectors, vectors, vectors, key_padding_mask=~present)
        out: Tensor = (vectors + read) * present[..., None]
        return out.flatten(1)

    def weights(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Return the mean attention over heads and over the modalities that are present."""
        _, found = self.attention(
            vectors, vectors, vectors, key_padding_mask=~present, need_weights=True
        )  # (batch, reading, read)
        reading = present[..., None]
        shares: Tensor = (found * reading).sum(1) / reading.sum(1)
        return shares
