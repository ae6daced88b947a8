"""Operations of layers from other libraries or your own code, for a modified backward pass."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from beyondprop.core import AtWeight
from beyondprop.layers.feedback import AtWeights, taught
from beyondprop.layers.linear import linear


class Operation(ABC):
    """The computation of a layer, written with `linear` and `convolution` for its products.

    Attributes:
        transposed: Whether the layer stores its weights as (in, out); rules then see
            ``weight.t()``.
    """

    transposed: ClassVar[bool] = False

    @abstractmethod
    def inputs_of(self, layer: Any) -> dict[str, int]:
        """Return the number of inputs that an output sums over, by the weight's name."""

    @abstractmethod
    def forward(self, layer: Any, at: Mapping[str, AtWeight], *inputs: Any, **keywords: Any) -> Any:
        """Return the same output as the layer's own `forward`.

        Args:
            layer: The layer.
            at: The rule's context for each weight, by name; pass it to `linear`.
            *inputs: The layer's positional arguments.
            **keywords: Its keyword arguments.
        """


class ByOperation:
    """The forward pass of a layer with a registered operation."""

    _operation: ClassVar[Operation]
    _feedback: AtWeights

    @classmethod
    def inputs_of(cls, layer: Any) -> dict[str, int]:
        """Return the number of inputs that an output sums over, by weight."""
        return cls._operation.inputs_of(layer)

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        """Return the layer's output; in the backward pass the rule's matrix replaces the weight."""
        if not taught(self, inputs[0] if inputs else None):
            return super().forward(*inputs, **keywords)  # type: ignore[misc]
        return self._operation.forward(self, self._feedback, *inputs, **keywords)


class LinearOperation(Operation):
    """``x Wᵀ + b`` with ``weight`` (out, in), for any class."""

    def inputs_of(self, layer: nn.Linear) -> dict[str, int]:
        """Return the layer's inputs."""
        return {"weight": layer.weight.shape[1]}

    def forward(self, layer: nn.Linear, at: Mapping[str, AtWeight], x: Tensor) -> Tensor:
        """Compute it."""
        return linear(x, layer.weight, layer.bias, at["weight"])


class TransposedLinear(Operation):
    """``x W + b`` with ``weight`` (in, out), such as the `Conv1D` of Hugging Face's GPT-2."""

    transposed: ClassVar[bool] = True

    def inputs_of(self, layer: nn.Linear) -> dict[str, int]:
        """Return the layer's inputs."""
        return {"weight": layer.weight.shape[0]}

    def forward(self, layer: nn.Linear, at: Mapping[str, AtWeight], x: Tensor) -> Tensor:
        """Compute it."""
        return linear(x, layer.weight.t(), layer.bias, at["weight"])
