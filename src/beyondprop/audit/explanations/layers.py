"""The contribution of each block to an answer: integrated gradients of the block's output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from beyondprop.audit.explanations.attribution import TOGETHER, Complete, complete
from beyondprop.audit.explanations.evidence import AT_ONCE, Told
from beyondprop.rules.backprop import Backprop
from beyondprop.tasks import Task, attached


def block_ends(task: Task, model: nn.Module) -> dict[str, str]:
    """Return the blocks of a task's model in order: block name to the module that ends the block.

    Raises:
        UserError: The task does not define blocks, and none can be derived from the model.
    """
    handle = attached(task, model, Backprop(), task.blocks)
    blocks = list(handle.blocks)
    handle.remove()
    return {block.name: block.ways[-1][0] for block in blocks if block.modules}


@torch.no_grad()
def with_rows(model: nn.Module, names: Sequence[str], inputs: Tensor) -> list[str]:
    """Return the modules that run once per pass and return a tensor with one row per sample."""
    outputs: dict[str, list[object]] = {name: [] for name in names}

    def observe(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_hook(lambda _m, _x, y: outputs[name].append(y))

    hooks = [observe(name, model.get_submodule(name)) for name in names]
    try:
        model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return [name for name, found in outputs.items() if len(found) == 1 and _fits(found[0], inputs)]


def _fits(output: object, inputs: Tensor) -> bool:
    return (
        isinstance(output, Tensor)
        and output.is_floating_point()
        and output.dim() > 1
        and len(output) == len(inputs)
    )


def at_layer(
    told: Told, layer: nn.Module, inputs: Tensor, classes: Tensor, absent: Tensor, steps: int
) -> Tensor:
    """Return integrated gradients of a layer's output, by captum: ``(n, ...)`` in its shape.

    The path is straight in the space of the layer's output, from its output for `absent` to its
    output for the input. The sum is therefore the same for all layers that the complete answer
    passes through.
    """
    from captum.attr import LayerIntegratedGradients

    method = LayerIntegratedGradients(told, layer)
    parts = [
        method.attribute(
            x, absent[None].expand_as(x), additional_forward_args=(c,), n_steps=steps,
            internal_batch_size=max(AT_ONCE, len(x)),
        ).detach()
        for x, c in zip(inputs.split(TOGETHER), classes.split(TOGETHER), strict=True)
    ]  # fmt: skip
    return torch.cat(parts)


@dataclass(frozen=True, eq=False)
class LayerFigures:
    """The figures of a layer.

    Attributes:
        found: The attributions of its units.
        units: Number of units.
        used: Effective number of units that carry the evidence, as a share of all units: ``(sum
            |a|)^2 / sum a^2 / units``, averaged over the samples.
        against: The share of the evidence against the answer: ``sum of |a| where a < 0 / sum |a|``,
            averaged over the samples.
    """

    found: Complete
    units: int
    used: float
    against: float


def layer_figures(
    told: Told,
    layer: nn.Module,
    inputs: Tensor,
    classes: Tensor,
    absent: Tensor,
    *,
    steps: int = 32,
    most: int = 1024,
) -> LayerFigures | None:
    """Return the figures of a layer's units, or None if the layer's output does not affect the
    answers. See `complete` for the arguments.
    """

    def attribute(x: Tensor, c: Tensor, count: int) -> Tensor:
        return at_layer(told, layer, x, c, absent, count)

    found = complete(told, inputs, classes, absent, attribute, steps=steps, most=most)
    maps = found.maps.flatten(1).double()  # (n, units)
    size = maps.abs().sum(1)
    if not bool((size > 0).any()):
        return None
    maps, size = maps[size > 0], size[size > 0]
    used = size.square() / maps.square().sum(1) / maps.shape[1]
    against = maps.clamp_max(0).abs().sum(1) / size
    return LayerFigures(found, maps.shape[1], used.mean().item(), against.mean().item())
