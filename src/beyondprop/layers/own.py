"""How layers of other libraries, or of one's own, get a backward of their own."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from beyondprop.core import AtWeight
from beyondprop.layers.feedback import AtWeights, taught
from beyondprop.layers.linear import linear


class Operation(ABC):
    """What a layer computes, written with `linear` and `convolution` for its products.

    Attributes:
        transposed: Whether the layer keeps its weights as (in, out); rules then see ``weight.t()``.
    """

    transposed: ClassVar[bool] = False

    @abstractmethod
    def inputs_of(self, layer: Any) -> dict[str, int]:
        """Return for the name of each weight how many inputs an output sums over."""

    @abstractmethod
    def forward(self, layer: Any, at: Mapping[str, AtWeight], *inputs: Any, **keywords: Any) -> Any:
        """Return what the layer's own `forward` returns.

        Args:
            layer: The layer.
            at: Where the rule is asked, for the name of each weight: give it to `linear`.
            *inputs: What the layer is called with.
            **keywords: What it is called with by name.
        """


class ByOperation:
    """The forward pass of a layer whose operation was registered."""

    _operation: ClassVar[Operation]
    _feedback: AtWeights

    @classmethod
    def inputs_of(cls, layer: Any) -> dict[str, int]:
        """Return for each weight how many inputs an output sums over."""
        return cls._operation.inputs_of(layer)

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        """Return the layer's output; in the backward pass the rule's matrix replaces the weight."""
        if not taught(self, inputs[0] if inputs else None):
            return super().forward(*inputs, **keywords)  # type: ignore[misc]
        return self._operation.forward(self, self._feedback, *inputs, **keywords)


class LinearOperation(Operation):
    """``x Wᵀ + b`` with ``weight`` (out, in), by whatever class."""

    def inputs_of(self, layer: nn.Linear) -> dict[str, int]:
        """Return the layer's inputs."""
        return {"weight": layer.weight.shape[1]}

    def forward(self, layer: nn.Linear, at: Mapping[str, AtWeight], x: Tensor) -> Tensor:
        """Compute it."""
        return linear(x, layer.weight, layer.bias, at["weight"])


class TransposedLinear(Operation):
    """``x W + b`` with ``weight`` (in, out), as the `Conv1D` of Hugging Face's GPT-2."""

    transposed: ClassVar[bool] = True

    def inputs_of(self, layer: nn.Linear) -> dict[str, int]:
        """Return the layer's inputs."""
        return {"weight": layer.weight.shape[0]}

    def forward(self, layer: nn.Linear, at: Mapping[str, AtWeight], x: Tensor) -> Tensor:
        """Compute it."""
        return linear(x, layer.weight.t(), layer.bias, at["weight"])
