"""SoftHebb."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from beyondprop.core import At, Block, Host, LossRule, Traits
from beyondprop.errors import UserError
from beyondprop.layers.conv import kernel_gradients

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class SoftHebb(LossRule):
    """SoftHebb: neurons compete softly for every input, and the weights turn by a Hebbian rule.

    With ``u = W x``, ``x`` an input or the patch at one position, and ``y = softmax(u / T)`` over
    the neurons (channels), negated for all but the winner, ``ΔW_k = Σ_x y_k (x - u_k w_k)`` over
    samples and positions, divided by its largest entry, and
    ``W_k ← W_k + η | |w_k| - 1 |^q ΔW_k`` (Moraitis et al. 2022; Journé, Garcia Rodriguez, Guo and
    Moraitis 2023). Hidden blocks see no labels and no error. Norms come to rest at 1, so a network
    begins with longer weights (`models.soft_hebb`). The division by the largest entry and the
    negation are those of the released code. The update goes through ``.grad``: plain SGD, without
    momentum or weight decay, with the learning rate ``η`` makes exactly this update; any other
    optimizer makes another rule of it.

    Args:
        temperature: T.
        power: q; at 0 the learning rate does not depend on a neuron's norm.
        anti_hebbian: Whether losing neurons turn away from the input, as in deep networks.
    """

    name: ClassVar[str] = "softhebb"
    traits: ClassVar[Traits] = Traits(
        frozenset({"input"}),
        ends_graph=True,
        exact_at_output=True,
        scales_with_loss=False,
        alone=(
            "it divides an update by its largest entry, and each process would find one of its "
            "own; use one process with the whole batch"
        ),
    )
    temperature: float = 1.0
    power: float = 0.5
    anti_hebbian: bool = True

    def __post_init__(self) -> None:
        if not self.temperature > 0 or self.power < 0:
            raise UserError("SoftHebb takes temperature= above 0 and power= from 0")

    def install(self, block: Block, host: Host) -> str:
        """End the graph at the block's output; a bias is no part of the rule."""
        said = super().install(block, host)
        return said if _layer_of(block)[1].bias is None else f"{said}; its bias keeps its values"

    def loss(self, at: At) -> Tensor:
        """Return the sum of the weights times the negative update, held constant.

        Its gradient is that factor to the last bit; its value means nothing.
        """
        name, layer = _layer_of(at.block)
        if at.input is None:
            raise UserError(
                f"SoftHebb needs the input of block '{at.block.name}': call it with one"
            )
        leading = at.block.modules[: [n for n, _ in at.block.modules].index(name)]
        with torch.no_grad(), torch.autocast(at.device.type, enabled=False):
            x = at.run.run(replace(at.block, modules=leading), at.input)
            with at.run.beside():
                gradient = self.gradient(layer, x)
        total: Tensor = (layer.weight * gradient).sum()
        return total

    def gradient(self, layer: Any, x: Tensor) -> Tensor:
        """Return the negative update of a layer's weight, without the learning rate η.

        Args:
            layer: A linear layer, or a convolution in one group.
            x: Its input, ``(batch, ..., in)`` or ``(batch, in, positions…)``.
        """
        weight = layer.weight.detach()
        x = x.to(weight.dtype)
        bare = {"weight": weight}
        if layer.bias is not None:  # it is no part of the competition
            bare["bias"] = torch.zeros_like(layer.bias)
        neurons = -1 if isinstance(layer, nn.Linear) else 1
        u = functional_call(layer, bare, (x,))  # (batch, ..., out) or (batch, out, positions…)
        y = self._competition(u, neurons)
        if neurons == -1:
            products = y.flatten(0, -2).t() @ x.flatten(0, -2)  # (out, in)
        else:
            products, _ = kernel_gradients(layer, x, y)  # (out, in, kernel…)
        activity = (y * u).movedim(neurons, 0).flatten(1).sum(1)  # (out,)
        shape = (-1, *[1] * (weight.dim() - 1))
        change = products - activity.view(shape) * weight
        change = change / (change.abs().amax() + 1e-30)
        norms = weight.flatten(1).norm(dim=1)  # (out,)
        rates = ((norms - 1).abs() + 1e-10) ** self.power
        negative: Tensor = -rates.view(shape) * change
        return negative

    def problems(self, block: Block) -> Iterator[str]:
        """Yield a sentence where a block is not one layer of the kinds that compete."""
        weighted = [(n, m) for n, m in block.named_modules() if any(True for _ in _own(m))]
        layers = [m for _, m in block.modules if type(m) in LAYERS]
        if block.loose or len(layers) != 1 or len(weighted) != 1:
            yield (
                f"SoftHebb teaches one nn.Linear or convolution a block, and block '{block.name}' "
                "is not one with nothing else to learn: name single layers in blocks=, norms with "
                "affine=False, and give other blocks a rule of their own"
            )
        elif getattr(layers[0], "groups", 1) != 1:
            yield f"SoftHebb has no competition within the groups of '{block.name}': use groups=1"

    def _competition(self, u: Tensor, neurons: int) -> Tensor:
        """Return who takes part in learning an input, and with which sign."""
        y = (u / self.temperature).softmax(neurons)
        if not self.anti_hebbian:
            return y
        winner = u.argmax(neurons, keepdim=True)
        return (-y).scatter(neurons, winner, y.gather(neurons, winner))


def _own(module: nn.Module) -> Iterator[nn.Parameter]:
    return module.parameters(recurse=False)


def _layer_of(block: Block) -> tuple[str, Any]:
    """Return the name and the layer of a block that `problems` has found nothing against."""
    return next((name, module) for name, module in block.modules if type(module) in LAYERS)
