"""The minimum number of floating-point operations of a step of each rule.

A layer's forward product, its weight-gradient product and its error product cost the same. Backprop
and rules that go back layer by layer need all three (but no error for the input). Direct rules need
no error products but a projection to each hidden block, twice if it learns; DRTP only looks up rows
for a one-hot target. A weight mirror's two products with noise are proportional to the number of
noise samples. Blocks with their own loss need no error products either. A forward gradient needs
the tangent's two products per layer, PEPITA a second pass, and predictive coding a forward and an
error product above the first layer for each step of inference. The remaining operations (heads,
activations, biases, the update) are few, or linear in the widths.
"""

from dataclasses import dataclass

import torch
from torch import nn

import beyondprop as bp
from benchmarks.common.networks import CHAIN_STEP, PLAIN, Network
from beyondprop import ErrorPredictiveCoding, PredictiveCoding


@dataclass(frozen=True)
class Products:
    """Floating-point operations of the matrix products in a step.

    Attributes:
        layers: Of one product in each layer.
        projections: Of the projections of the output error to all hidden blocks.
        mirrors: Of the noise in a weight mirror.
    """

    layers: tuple[int, ...]
    projections: int
    mirrors: int

    def of(self, rule: str) -> int:
        """Return the operations of a step by a rule."""
        forward = weights = sum(self.layers)
        errors = sum(self.layers[1:])
        direct = {"dfa": self.projections, "dkp": 2 * self.projections, "drtp": 0}
        direct |= {"ebd": direct["dkp"], CHAIN_STEP: direct["dfa"]}
        if rule in direct:
            return forward + weights + direct[rule]
        if rule == "frozen":
            return forward + self.layers[-1]
        if rule in ("scff", "pepita"):  # pairs of inputs in addition to the batch; a second pass
            return forward + (2 * (forward + weights) if rule == "scff" else forward + weights)
        if rule == "softhebb":  # hidden layers' products a second time, without their biases
            return forward + weights + sum(self.layers[:-1])
        known = bp.rules.RULES.get(rule)
        if isinstance(known, PredictiveCoding | ErrorPredictiveCoding):
            return forward + 2 * known.steps * errors + weights
        if isinstance(known, bp.rules.LossRule):
            return forward + weights
        return forward + weights + errors + (self.mirrors if rule == "wm" else 0)

    def limit(self, rule: str) -> float:
        """Return the minimum time of a rule's step relative to backprop, from products alone."""
        return self.of(rule) / self.of(PLAIN)


def products(net: Network) -> Products:
    """Return the operations, counted by hooks in one run of the network."""
    model = net.build()
    inputs, _ = net.batch()
    handle = bp.attach(model, bp.DirectFeedbackAlignment())
    tails = [block.modules[-1][1] for block in handle.blocks[:-1]]
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
    samples = bp.WeightMirror().samples
    return Products(
        layers=tuple(2 * sizes[layer] * layer.weight[0].numel() for layer in layers),
        mirrors=sum(4 * samples * layer.weight.numel() for layer in layers[1:]),
        projections=sum(2 * sizes[tail] * outputs.shape[1] for tail in tails if tail is not None),
    )
