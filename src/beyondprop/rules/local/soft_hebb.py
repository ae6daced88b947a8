"""SoftHebb: soft winner-take-all Hebbian learning."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from beyondprop._torch.modules import children, has_parameters, is_chain, is_made
from beyondprop.core import At, Block, Host, LossRule, Traits
from beyondprop.errors import UserError
from beyondprop.layers.conv import kernel_gradients, padding_per_side
from beyondprop.registry.limits import NotNegative, Positive

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""The layers that SoftHebb teaches."""
RANDOM = (
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
    *(nn.AlphaDropout, nn.FeatureAlphaDropout, nn.RReLU),
)
"""Modules that would draw new random numbers when they run a second time."""
SMALLEST = 1e-30
"""Added to the largest entry of an update before the division (as in the authors' program)."""
LEAST = 1e-10
"""Added to the difference between a weight's norm and 1 (as in the authors' program)."""


@dataclass(frozen=True)
class SoftHebb(LossRule):
    """SoftHebb: each layer's neurons compete for inputs; there is neither label nor error.

    With ``u = W x`` for one input, or for the patch at one position, ``y`` is the softmax of
    ``u / T`` over neurons or channels, negative for all but the winner, and ``ΔW_k = Σ y_k (x - u_k
    w_k)`` (Moraitis et al. 2022; Journé et al. 2023). As in the authors' program, ``ΔW`` is divided
    by its largest entry, and neuron ``k`` learns at the rate ``η |‖w_k‖ - 1|^q``. The weight's
    gradient is the negative update without ``η``, so plain SGD, without momentum and weight decay,
    makes the program's update at its learning rate; other optimizers make a different update. A
    bias takes no part in the competition, and its gradient is zero. The output block, which keeps
    its exact gradient, is a read-out of the features learned without labels.

    Args:
        temperature: T, one for all blocks or one for each block that the rule teaches; with small
            values nearly the complete update goes to the winner.
        power: q; how fast the rate falls as a weight's norm approaches 1.
        anti: Whether all but the winner learn with a negative sign, as in the deep network of 2023;
            in the single layer of 2022 none does.
    """

    name: ClassVar[str] = "softhebb"
    traits: ClassVar[Traits] = Traits(
        frozenset({"input"}),
        ends_graph=True,
        sends_gradient=False,
        exact_at_output=True,
        scales_with_loss=False,
        alone=(
            "it divides the whole batch's update by its largest entry, which would differ in each "
            "process; use one process with the whole batch"
        ),
    )
    temperature: Positive | tuple[Positive, ...] = 1.0
    power: NotNegative = 0.5
    anti: bool = True

    def loss(self, at: At) -> Tensor:
        """Return ``Σ W ⊙ G`` with the gradient G held constant; the value has no meaning."""
        leading, layer = _parts(at.block)
        if is_made(layer):
            raise UserError(f"{_of_made(at.block.name)}: undo this, or remove() the rules")
        assert at.input is not None
        with torch.no_grad(), torch.autocast(at.device.type, enabled=False):
            x = at.run.run(replace(at.block, modules=leading), at.input)
            gradient = self.gradient(layer, x)
        loss: Tensor = (layer.weight * gradient).sum()
        return loss if layer.bias is None else loss + (layer.bias * 0).sum()

    def gradient(self, layer: Any, x: Tensor) -> Tensor:
        """Return the weight's gradient: the negative update, without the optimizer's rate.

        Args:
            layer: One of `LAYERS`.
            x: The layer's input, ``(..., features)`` or ``(batch, channels, ...)``.
        """
        dtype = torch.promote_types(layer.weight.dtype, torch.float32)
        weight, x = layer.weight.detach().to(dtype), x.to(dtype)
        if isinstance(layer, nn.Linear):
            x = x.reshape(-1, x.shape[-1])  # (rows, features)
            u = x @ weight.T  # (rows, neurons)
            y = self._competition(u)
            products = y.T @ x  # (neurons, features): Σ y x
        else:
            x = x if x.dim() == weight.dim() else x.unsqueeze(0)
            u = _convolved(layer, x, weight)  # (batch, neurons, positions...)
            y = self._competition(u)
            products, _ = kernel_gradients(layer, x, y)  # (neurons, channels, kernel...)
        each = (-1, *[1] * (weight.dim() - 1))  # shape of one value per neuron
        decay = (y * u).transpose(0, 1).flatten(1).sum(1).view(each)  # Σ y u
        change = products - decay * weight
        change = change / (change.abs().max() + SMALLEST)
        length = weight.flatten(1).norm(dim=1).view(each)
        rate = ((length - 1).abs() + LEAST) ** self.power
        found: Tensor = (-rate * change).to(layer.weight.dtype)
        return found

    def install(self, block: Block, host: Host) -> str:
        """End the graph at the block's output; the description names weights that learn little.

        Raises:
            UserError: A block before this one needs a gradient from it, or the number of
                temperatures is not that of the blocks.
        """
        for before in host.blocks[: host.blocks.index(block)]:
            learns = any(parameter.requires_grad for _, parameter in before.parameters())
            if learns and not before.rule.traits.ends_graph:
                raise UserError(
                    f"SoftHebb on '{block.name}' sends no gradient back to '{before.name}', which "
                    "would never learn: teach it by a rule that ends its graph too, or freeze it"
                )
        host.end_by_loss(block, self._at_one_temperature(block, host), {})
        _, layer = _parts(block)
        said = "output detached: its weight learns by competition"
        if layer.bias is not None:
            said += ", its bias does not learn"
        if not layer.weight.is_meta and bool((layer.weight.flatten(1).norm(dim=1) < 1).all()):
            said += "; all norms of its weights are below 1, so it learns little"
        return said

    def _at_one_temperature(self, block: Block, host: Host) -> "SoftHebb":
        """Return the rule with the temperature of the block."""
        if not isinstance(self.temperature, tuple):
            return self
        own = [each for each in host.blocks if each.rule is self]
        if len(own) != len(self.temperature):
            raise UserError(
                f"SoftHebb teaches {len(own)} blocks, so it takes {len(own)} temperatures or a "
                f"single one, not {len(self.temperature)}"
            )
        return replace(self, temperature=self.temperature[own.index(block)])

    def problems(self, block: Block) -> Iterator[str]:
        """Yield a sentence for each reason why the block is not one layer that can compete."""
        for name, module in block.named_modules():
            if isinstance(module, nn.Sequential) and not is_chain(module):
                yield f"SoftHebb follows chains, and '{name}' has its own forward method"
                return
        found = [(name, m) for name, m in _flat(block.modules) if has_parameters(m)]
        name, layer = found[0] if found else (block.name, nn.Identity())
        if type(layer) not in LAYERS:
            yield (
                "SoftHebb teaches linear layers and convolutions, one per block, but "
                f"'{name}' is a {type(layer).__name__}: give it another rule"
            )
            return
        if is_made(layer):
            yield f"{_of_made(name)}: give it another rule"
        if getattr(layer, "groups", 1) != 1:
            yield f"SoftHebb makes all channels compete, so '{name}' must have groups=1"
        for other, _ in found[1:]:
            yield (
                f"SoftHebb teaches only the weight of '{name}', but '{other}' in its block has "
                "parameters too: use affine=False, or make it a separate block"
            )
        for other, module in _parts(block)[0]:
            drawn = any(isinstance(each, RANDOM) for each in module.modules())
            if drawn or getattr(module, "inplace", False):
                yield (
                    f"SoftHebb runs '{other}' a second time, which would change the input of "
                    f"'{name}': put it after the layer, or replace it by a module that neither "
                    "draws random numbers nor works in place"
                )

    def _competition(self, u: Tensor) -> Tensor:
        """Return each neuron's softmax value for an input, ``(rows, neurons, ...)``, with sign."""
        assert isinstance(self.temperature, float | int)
        y = (u / self.temperature).softmax(1)
        if not self.anti:
            return y
        winner = u.argmax(1, keepdim=True)
        return (-y).scatter(1, winner, y.gather(1, winner))


def _of_made(name: str) -> str:
    return (
        f"the weight of '{name}' is computed from others (weight_norm, pruning), which would not "
        "get SoftHebb's gradients"
    )


def _flat(modules: Iterable[tuple[str, nn.Module]]) -> Iterator[tuple[str, nn.Module]]:
    """Yield modules in the order they run, with the children of chains in their place."""
    for name, module in modules:
        if isinstance(module, nn.Sequential):
            yield from _flat(children(module, name))
        else:
            yield name, module


def _parts(block: Block) -> tuple[tuple[tuple[str, nn.Module], ...], Any]:
    """Return the modules before the block's layer, and the layer."""
    modules = list(_flat(block.modules))
    place = next(i for i, (_, module) in enumerate(modules) if has_parameters(module))
    return tuple(modules[:place]), modules[place][1]


def _convolved(layer: Any, x: Tensor, weight: Tensor) -> Tensor:
    """Return the convolution of x without the bias, without calling hooks."""
    sides = [p for side in reversed(padding_per_side(layer)) for p in side]
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = F.pad(x, sides, mode=mode) if any(sides) else x
    none = [0] * len(layer.kernel_size)
    return torch.convolution(
        padded, weight, None, layer.stride, none, layer.dilation, False, none, 1
    )


REGISTERED = (SoftHebb,)
