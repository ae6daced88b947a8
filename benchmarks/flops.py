"""How many floating-point operations a step of each rule cannot do without.

A layer's forward product, its weight-gradient product and its error product cost the same. Backprop
and feedback alignment need all three (but no error for the input), direct rules no error products
but a projection to each hidden block; to carry a one-hot target, DRTP only looks rows up. What is
left out (activations, biases, the update) is linear in the widths.
"""

from dataclasses import dataclass

import torch
from nets import PLAIN, Net
from torch import nn

import beyondprop as bp


@dataclass(frozen=True)
class Products:
    """Floating-point operations of the matrix products in a step.

    Attributes:
        layers: Of one product in each layer.
        projections: Of carrying the output error to all hidden blocks.
    """

    layers: tuple[int, ...]
    projections: int

    def of(self, rule: str) -> int:
        """Return what a step by a rule needs."""
        forward = weights = sum(self.layers)
        errors = sum(self.layers[1:])
        return {
            PLAIN: forward + weights + errors,
            "backprop": forward + weights + errors,
            "fa": forward + weights + errors,
            "dfa": forward + weights + self.projections,
            "drtp": forward + weights,
            "frozen": forward + self.layers[-1],
        }[rule]

    def limit(self, rule: str) -> float:
        """Return the least time of a rule's step relative to backprop, were products all."""
        return self.of(rule) / self.of(PLAIN)


def products(net: Net) -> Products:
    """Count by running the net once with hooks."""
    model = net.build()
    inputs, _ = net.batch()
    handle = bp.attach(model, bp.DirectFeedbackAlignment())
    tails = [block.tail for block in handle.blocks[:-1]]
    handle.remove()
    sizes: dict[nn.Module, int] = {}

    def keep_size(module: nn.Module, _: object, outputs: torch.Tensor) -> None:
        sizes[module] = outputs.numel()

    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    for module in (*layers, *tails):
        if module is not None:
            module.register_forward_hook(keep_size)
    with torch.no_grad():
        outputs = model(inputs)
    return Products(
        layers=tuple(2 * sizes[layer] * layer.weight[0].numel() for layer in layers),
        projections=sum(2 * sizes[tail] * outputs.shape[1] for tail in tails if tail is not None),
    )
