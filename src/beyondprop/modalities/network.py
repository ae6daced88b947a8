"""A network with an encoder for each kind of input, a fusion and a head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop._torch.calling import call
from beyondprop._torch.pytrees import leaves, replaced
from beyondprop.errors import UserError, check_type
from beyondprop.modalities.fusion import Fusion

PRESENT = "present"
"""The name of the input that says which modalities each sample has."""


class MultimodalNetwork(nn.Module):
    """An encoder for each modality, a fusion of their features, and a head.

    Call it with one named input for each modality, `model(image=x, audio=y)`. An input holds its
    encoder's arguments: a tensor, or a tuple or mapping of tensors. A modality that is not named,
    or is None, is missing for the complete batch, and its encoder does not run. ``present``, a mask
    ``(batch, modalities)`` in the encoders' order, says which modalities each sample has. The input
    of a missing modality may have any value: its encoder receives that of another sample of the
    batch instead, and the fusion leaves it out. A batch norm in an encoder counts that sample
    again.

    Args:
        encoders: Modules that return ``(batch, features)``, by the names of modalities.
        fusion: Fuses the encoders' features; its widths have the same names.
        head: Maps the fusion's features to the outputs.
        dropout: The probability that a sample's modality is left out in training, drawn by
            PyTorch's global generator; each sample keeps at least one modality.

    Raises:
        UserError: Names differ, or the share is not from 0 to less than 1.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        fusion: Fusion,
        head: nn.Module,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_type("the encoders", encoders, Mapping, "a mapping of names to modules")
        for name, encoder in encoders.items():
            check_type(f"the encoder of {name}", encoder, nn.Module, "a torch.nn.Module")
        check_type("the fusion", fusion, Fusion, "a fusion such as Concatenation(...)")
        check_type("the head", head, nn.Module, "a torch.nn.Module")
        check_type("dropout", dropout, (float, int), "a number")
        if PRESENT in encoders:
            raise UserError(f"a modality can't be named '{PRESENT}', the name of the samples' mask")
        if list(encoders) != list(fusion.widths):
            raise UserError(
                f"the encoders are {', '.join(encoders)}, but the fusion joins "
                f"{', '.join(fusion.widths)}: name the same modalities in the same order"
            )
        if not 0 <= dropout < 1:
            raise UserError(f"dropout must be from 0 to less than 1, not {dropout}")
        self.encoders = nn.ModuleDict(encoders)
        self.fusion = fusion
        self.head = head
        self.dropout = dropout

    @property
    def modalities(self) -> tuple[str, ...]:
        """The names of the modalities, in order."""
        return tuple(self.encoders)

    def forward(self, present: Tensor | None = None, **inputs: Any) -> Any:
        """Return the head's outputs.

        Args:
            present: Which modalities each sample has, ``(batch, modalities)`` bool; by default all
                that are given.
            inputs: The inputs of modalities, by name.

        Raises:
            UserError: There is no sample, one has no modality at all, a name is unknown, or an
                encoder does not return ``(batch, features)`` of the fusion's width.
        """
        return self.head(self.fusion(*self.encoded(inputs, present)))

    def trust(self, present: Tensor | None = None, **inputs: Any) -> Tensor:
        """Return the weight that the fusion gives each modality, ``(batch, modalities)``.

        Raises:
            UserError: As in `forward`, or this fusion has no weights of modalities.
        """
        return self.fusion.trust(*self.encoded(inputs, present))

    def encoded(
        self, inputs: Mapping[str, Any], present: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return the encoders' features, by name, and which modalities samples have.

        Args:
            inputs: The inputs of modalities, by name.
            present: As in `forward`.

        Returns:
            ``(batch, features)`` of each modality that is given, and ``(batch, modalities)`` bool.
        """
        given = self._given(inputs)
        seen = self._seen(given, present)
        found = {}
        for place, name in enumerate(self.modalities):
            if name in given and (present is None or bool(seen[:, place].any())):
                whole = given[name] if present is None else filled(given[name], seen[:, place])
                found[name] = self._checked(name, call(self.encoders[name], whole), len(seen))
        if self.training and self.dropout:
            seen = self._dropped(seen)
        return found, seen

    def _given(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        if unknown := [name for name in inputs if name not in self.encoders]:
            raise UserError(
                f"there is no modality '{unknown[0]}': the network has {', '.join(self.modalities)}"
            )
        given = {name: value for name, value in inputs.items() if value is not None}
        if not given:
            raise UserError(f"no modality is given: give one of {', '.join(self.modalities)}")
        return given

    def _seen(self, given: Mapping[str, Any], present: Tensor | None) -> Tensor:
        """Return which modalities each sample has, ``(batch, modalities)`` bool."""
        lengths = {name: len(next(leaves(value))) for name, value in given.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise UserError(f"the modalities have different numbers of samples: {told}")
        first = next(leaves(next(iter(given.values()))))
        if not len(first):
            raise UserError("the batch has no sample: leave it out")
        named = torch.tensor([name in given for name in self.modalities], device=first.device)
        if present is None:
            return named.expand(len(first), -1)
        if present.shape != (len(first), len(self.modalities)):
            raise UserError(
                f"'{PRESENT}' must be ({len(first)}, {len(self.modalities)}), one row per sample "
                f"and one column per modality, not {tuple(present.shape)}"
            )
        seen = present.bool() & named
        if not bool(seen.any(1).all()):
            sample = int((~seen.any(1)).nonzero()[0])
            raise UserError(f"sample {sample} of the batch has no modality: leave it out")
        return seen

    def _checked(self, name: str, hidden: Any, samples: int) -> Tensor:
        wanted = (samples, self.fusion.widths[name])
        if not isinstance(hidden, Tensor) or hidden.shape != wanted:
            found = tuple(hidden.shape) if isinstance(hidden, Tensor) else type(hidden).__name__
            raise UserError(
                f"the encoder of '{name}' must return {wanted}, a row of features for each sample, "
                f"not {found}"
            )
        return hidden

    def _dropped(self, seen: Tensor) -> Tensor:
        """Return which of the samples' modalities are kept: at least one for each sample."""
        draws = torch.rand(seen.shape, device=seen.device).masked_fill(~seen, -1)
        best = draws.argmax(1, keepdim=True)
        return (seen & (draws >= self.dropout)).scatter(1, best, value=True)


def filled(inputs: Any, present: Tensor) -> Any:
    """Return a modality's input, where samples without it repeat the first sample that has it.

    Zeros would suit most encoders, but a length of zero, for example, makes gradients NaN.

    Args:
        inputs: Tensors with one row per sample.
        present: Which samples have the modality, ``(batch,)`` bool; at least one.
    """
    rows = torch.arange(len(present), device=present.device)
    rows = torch.where(present, rows, rows[present][0])
    return replaced(inputs, lambda x: x[rows])
