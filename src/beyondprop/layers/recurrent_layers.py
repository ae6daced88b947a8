"""Recurrent layers with a modified backward pass, run step by step: the rule covers all products.

In each direction a layer has a weight for its inputs, which are projected in one product, a weight
for its state, and, if the state is projected, a weight for that projection.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from beyondprop.layers.feedback import AtWeights, autocast, taught
from beyondprop.layers.linear import Product, linear
from beyondprop.layers.recurrent import elman, gru, lstm

State = tuple[Tensor, ...]
"""The state between steps: ``h``, and an LSTM's ``c``; each ``(batch, features)``."""


class _FeedbackRecurrent:
    """Common parts of the layers below."""

    _feedback: AtWeights
    _states: ClassVar[int] = 1

    @staticmethod
    def inputs_of(layer: Any) -> dict[str, int]:
        """Return the number of inputs that an output sums over, by weight."""
        state = layer.proj_size or layer.hidden_size
        found: dict[str, int] = {}
        for place, suffixes in enumerate(_suffixes(layer)):
            below = state * len(suffixes) if place else layer.input_size
            for suffix in suffixes:
                found |= {f"weight_ih_{suffix}": below, f"weight_hh_{suffix}": state}
                found |= {f"weight_hr_{suffix}": layer.hidden_size} if layer.proj_size else {}
        return found

    def forward(self: Any, input: Any, hx: Any = None) -> Any:
        """Compute the layer's output (see `nn.LSTM`)."""
        if not taught(self, input):
            return super().forward(input, hx)  # type: ignore[misc]
        if isinstance(input, PackedSequence):
            return self._packed(input, hx)
        if input.dim() == 2:
            given = None if hx is None else self._joined([h.unsqueeze(1) for h in self._parts(hx)])
            output, ended = self.forward(input.unsqueeze(0 if self.batch_first else 1), given)
            one = self._joined([h.squeeze(1) for h in self._parts(ended)])
            return output.squeeze(0 if self.batch_first else 1), one
        if input.dim() != 3 or not input.numel():
            return super().forward(input, hx)  # type: ignore[misc]  # PyTorch raises the error
        steps = input.transpose(0, 1) if self.batch_first else input  # (steps, batch, features)
        begun = self._begun(input, steps.shape[1]) if hx is None else hx
        self.check_forward_args(input, begun, None)
        sizes = [steps.shape[1]] * len(steps)
        rows, ended = self._layers(steps.flatten(0, 1), sizes, self._parts(begun))
        output = rows.unflatten(0, steps.shape[:2])
        return output.transpose(0, 1) if self.batch_first else output, self._joined(ended)

    def _packed(self: Any, input: PackedSequence, hx: Any) -> Any:
        """Compute the layer on sequences of different lengths, the longest first."""
        rows, lengths, order, back = input
        sizes = lengths.tolist()
        begun = self._begun(rows, sizes[0]) if hx is None else self.permute_hidden(hx, order)
        self.check_forward_args(rows, begun, lengths)
        output, ended = self._layers(rows, sizes, self._parts(begun))
        packed = PackedSequence(output, lengths, order, back)
        return packed, self.permute_hidden(self._joined(ended), back)

    def _parts(self, states: Any) -> State:
        """Return the states of all layers as a tuple, each ``(layers × directions, batch,
        features)``."""
        return tuple(states) if self._states > 1 else (states,)

    def _joined(self, states: Sequence[Tensor]) -> Any:
        """Return states in the form of the layer's argument and result."""
        return tuple(states) if self._states > 1 else states[0]

    def _begun(self: Any, x: Tensor, batch: int) -> Any:
        """Return states of zeros."""
        count = sum(len(suffixes) for suffixes in _suffixes(self))
        sizes = (self.proj_size or self.hidden_size, self.hidden_size)[: self._states]
        return self._joined([x.new_zeros(count, batch, size) for size in sizes])

    def _cast(self, states: State) -> Sequence[Tensor]:
        """Return states, cast as `torch.autocast` casts them in PyTorch's layer."""
        return autocast(*states)

    def _layers(self: Any, rows: Tensor, sizes: Sequence[int], begun: State) -> tuple[Tensor, Any]:
        """Run all layers in sequence.

        Args:
            rows: The inputs of all steps, one step after another, ``(rows, features)``.
            sizes: The number of rows of each step; they never grow.
            begun: The initial states.

        Returns:
            The last layer's outputs, ``(rows, features)``, and the final states.
        """
        begun = self._cast(begun)
        ended: list[State] = []
        for place, suffixes in enumerate(_suffixes(self)):
            if place and self.dropout:
                rows = F.dropout(rows, self.dropout, self.training)
            outputs = []
            for suffix in suffixes:
                state = tuple(part[len(ended)] for part in begun)
                output, state = self._direction(rows, sizes, state, suffix)
                outputs.append(output)
                ended.append(state)
            rows = torch.cat(outputs, 1) if len(outputs) > 1 else outputs[0]
        return rows, [torch.stack(parts) for parts in zip(*ended, strict=True)]

    def _direction(
        self: Any, rows: Tensor, sizes: Sequence[int], begun: State, suffix: str
    ) -> tuple[Tensor, State]:
        """Run one layer in one direction; return its outputs and its final states."""
        own: list[Any] = [getattr(self, f"{part}_{suffix}", None) for part in PARTS]
        w, u, b, d, p = own
        at = [self._feedback.get(f"{part}_{suffix}") for part in PARTS]
        from_x = linear(rows, w, b, at[0]).split(list(sizes))
        again, project = Product(u, d, at[1]), Product(p, None, at[4]) if self.proj_size else None
        places = range(len(sizes))
        order = places[::-1] if suffix.endswith("_reverse") else places
        state = tuple(part[:0] for part in begun) if order is not places else begun
        outputs: list[Tensor] = []
        ended: list[State] = []
        for step in order:
            size, before = sizes[step], len(state[0])
            if size < before:  # the shorter sequences end here
                ended.append(tuple(part[size:] for part in state))
                state = tuple(part[:size] for part in state)
            elif size > before:  # in the reverse direction they begin here
                new = [part[before:size] for part in begun]
                state = tuple(torch.cat(parts) for parts in zip(state, new, strict=True))
            state = self._step(from_x[step], again(state[0]), state)
            if project is not None:
                state = (project(state[0]), *state[1:])
            outputs.append(state[0])
        state = tuple(torch.cat(parts) for parts in zip(state, *reversed(ended), strict=True))
        return torch.cat(outputs if order is places else outputs[::-1]), state


PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
"""The parameters of one layer in one direction; the last exists if the state is projected."""


def _suffixes(layer: Any) -> list[list[str]]:
    """Return the suffixes of the parameters' names in each direction, for each layer."""
    ends = ("", "_reverse") if layer.bidirectional else ("",)
    return [[f"l{place}{end}" for end in ends] for place in range(layer.num_layers)]


class FeedbackRNN(_FeedbackRecurrent, nn.RNN):
    """Elman layers under a `LayerRule`; made by swapping the class of plain ones."""

    def _step(self, from_x: Tensor, from_h: Tensor, _: State) -> State:
        return (elman(from_x, from_h, self.nonlinearity),)


class FeedbackGRU(_FeedbackRecurrent, nn.GRU):
    """GRU layers under a `LayerRule`; made by swapping the class of plain ones."""

    def _cast(self, states: State) -> Sequence[Tensor]:
        return states if states[0].device.type == "cpu" else autocast(*states)

    def _step(self, from_x: Tensor, from_h: Tensor, state: State) -> State:
        return (gru(from_x, from_h, state[0]),)


class FeedbackLSTM(_FeedbackRecurrent, nn.LSTM):
    """LSTM layers under a `LayerRule`; made by swapping the class of plain ones."""

    _states: ClassVar[int] = 2

    def _cast(self, states: State) -> Sequence[Tensor]:
        h, c = autocast(*states)
        return (h, states[1]) if self.proj_size and c.device.type == "cpu" else (h, c)

    def _step(self, from_x: Tensor, from_h: Tensor, state: State) -> State:
        return lstm(from_x, from_h, state[1])
