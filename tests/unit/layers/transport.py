"""A rule for tests: weight transport, by which every operation must do as plain autograd does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from tests import internals
from torch import Tensor, nn

import beyondprop as bp
from beyondprop.rules import LayerRule


@dataclass(frozen=True)
class Transport(LayerRule):
    """The feedback is the weight itself, times a factor."""

    name: ClassVar[str] = "transport"
    factor: float = 1.0

    def feedback(self, weight: Tensor, layer: Any) -> Tensor:  # noqa: ARG002
        return self.factor * weight


class Only(nn.Module):
    """A model of one layer, whatever the layer takes and returns."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *args: Any, **options: Any) -> Any:
        return self.layer(*args, **options)


def tensors(value: Any) -> list[Tensor]:
    """Return the tensors in nested tuples."""
    if isinstance(value, tuple):
        return [tensor for part in value for tensor in tensors(part)]
    return [] if value is None else [value]


Call = Callable[[nn.Module], Any]


def outcome(model: nn.Module, call: Call, inputs: list[Tensor], seed: int = 0) -> list[Any]:
    """Return outputs and all gradients, of a loss in which each output number has its own part."""
    model.zero_grad()
    for x in inputs:
        x.grad = None
    torch.manual_seed(seed)  # of dropout
    outputs = tensors(call(model))
    factors = torch.Generator().manual_seed(1)
    loss = sum(
        (out * torch.randn(out.shape, generator=factors, dtype=out.dtype)).sum() for out in outputs
    )
    loss.backward()
    gradients = [t.grad for t in (*inputs, *model.parameters())]
    return [outputs, gradients]


def assert_transported(layer: nn.Module, call: Call, inputs: list[Tensor]) -> None:
    """Check that a layer under weight transport gives the same as without any rule."""
    model = Only(layer)
    plain = outcome(model, call, inputs)
    assert any(gradient is not None and gradient.any() for gradient in plain[1])
    handle = bp.attach(model, Transport(), blocks=["layer"])
    swapped = [m for m in model.modules() if internals.is_swapped(m)]
    assert swapped
    ours = outcome(model, call, inputs)
    torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)
    with bp.exact_gradients(model):
        torch.testing.assert_close(outcome(model, call, inputs), plain, rtol=0, atol=0)
    with torch.no_grad():
        torch.manual_seed(0)
        torch.testing.assert_close(tensors(call(model)), plain[0], rtol=1e-10, atol=1e-12)
    handle.remove()
    assert not any(internals.is_swapped(m) for m in model.modules())


def rand(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def feedback_of(module: nn.Module, name: str = "weight") -> Tensor:
    """Return the feedback for a weight under the attached rule."""
    return internals.feedback(module, name=name).detach()
