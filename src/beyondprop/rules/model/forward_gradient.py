"""The forward gradient."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual
from torch.nn.attention import SDPBackend, sdpa_kernel

from beyondprop._torch.forward_mode import OneDtype, dual_level, make_dual
from beyondprop._torch.pytrees import leaves, replaced
from beyondprop.core import ModelCall, ModelResult, ModelRule, Traits
from beyondprop.errors import UserError
from beyondprop.projections import Projection, Redrawn
from beyondprop.random.streams import stream_of


@dataclass(frozen=True)
class ForwardGradient(ModelRule):
    """Forward gradient: one random direction in weight space, and the loss's slope along it.

    ``g = (∇f · v) v`` with ``v ~ N(0, I)``, redrawn for every forward pass in training mode: an
    unbiased estimate of ``∇f``, as ``E[v vᵀ] = I`` (Baydin, Pearlmutter, Syme, Wood and Torr 2022).
    The forward pass also computes the derivative along ``v`` and keeps no activations; only the
    loss is differentiated backward, and ``∇f · v`` is the error at the outputs times the outputs'
    derivatives. The variance of ``g`` grows with the number of parameters: ``E|g - ∇f|² = (n + 1)
    |∇f|²``. Therefore the rule suits only small models.
    """

    name: ClassVar[str] = "fg"
    traits: ClassVar[Traits] = ModelRule.traits.but(counts_passes=True)
    projection: Projection = field(default_factory=Redrawn)

    def direction(self, name: str, parameter: Tensor, number: int) -> Tensor:
        """Return a pass's direction for one parameter, with its shape."""
        stream = stream_of(f"{name}, pass {number}")
        drawn = self.projection.matrix(parameter.numel(), 1, stream, parameter.detach())
        return drawn.view(parameter.shape)

    def forward(self, call: ModelCall) -> ModelResult:
        """Run the forward pass with its derivatives along the direction."""
        device = next(iter(call.parameters.values())).device.type
        with dual_level(), _differentiable(torch.is_autocast_enabled(device)):
            duals = {
                name: make_dual(parameter, self.direction(name, parameter, call.run.number))
                for name, parameter in call.parameters.items()
                if parameter.requires_grad
            }
            outputs = call.outputs(duals)
            unpacked = {id(t): unpack_dual(t) for t in leaves(outputs)}
            outputs = replaced(outputs, lambda tensor: unpacked[id(tensor)].primal)
            moving = [pair for pair in unpacked.values() if pair.tangent is not None]
            slopes = [pair.tangent for pair in moving]
        names = list(call.parameters)
        taught = [pair.primal for pair in moving]
        slope = Slope(self, names, call.run.number, slopes)
        return ModelResult(outputs, taught, [], slope.gradients)


@dataclass(frozen=True, eq=False)
class Slope:
    """The values that a pass keeps: the derivatives of its outputs along its direction.

    Attributes:
        rule: The rule, which draws the direction again when it is needed.
        names: Names of the parameters.
        number: Number of the pass.
        slopes: The derivatives, shaped like the outputs.
    """

    rule: ForwardGradient
    names: Sequence[str]
    number: int
    slopes: Sequence[Tensor]

    def gradients(
        self, errors: Sequence[Tensor | None], saved: Sequence[Tensor], needed: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        """Return the loss's slope times the direction, for each parameter that needs it."""
        pairs = zip(errors, self.slopes, strict=True)
        slope = sum(_product(error, each) for error, each in pairs if error is not None)
        assert isinstance(slope, Tensor)
        return [
            self.rule.direction(name, parameter, self.number).mul_(slope.to(parameter.device))
            if wanted
            else None
            for name, parameter, wanted in zip(self.names, saved, needed, strict=True)
        ]


def _product(error: Tensor, slope: Tensor) -> Tensor:
    """Return the sum of the products, a real scalar, in at least single precision."""
    dtype = torch.promote_types(slope.dtype, torch.float32)
    return torch.vdot(error.to(dtype).flatten(), slope.to(dtype).flatten()).real


@contextmanager
def _differentiable(autocast: bool) -> Iterator[None]:
    """Make PyTorch use kernels that support forward-mode derivatives.

    Args:
        autocast: Whether autocast is on.

    Raises:
        UserError: An operation has no such kernel.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), OneDtype() if autocast else nullcontext():
            yield
    except NotImplementedError as error:
        if "forward AD" not in str(error):
            raise
        raise UserError(
            "ForwardGradient differentiates in forward mode, which PyTorch does not support for an "
            f"operation of this model ({str(error).partition(' because')[0]}): write it with other "
            "operations, or use another rule"
        ) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


REGISTERED = (ForwardGradient,)
