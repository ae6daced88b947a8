"""Layers that get a backward of their own by another class, and get their class back."""

from torch import nn

from beyondprop.core import AtWeight, Block, LayerRule, Mode
from beyondprop.layers import EXACT, OPERATIONS, AtWeights
from beyondprop.random.streams import stream_of


class SwappedLayers:
    """The layers of one block under a rule of layers.

    Args:
        block: The block.
        rule: The rule.
        mode: What holds for the passes to come.
    """

    def __init__(self, block: Block, rule: LayerRule, mode: Mode) -> None:
        self.block, self.rule, self.mode = block, rule, mode
        self._weights: dict[str, AtWeight] = {}
        self._swapped: list[tuple[str, nn.Module, type[nn.Module]]] = []
        self._exact: list[str] = []
        self._asked: list[str] = []

    def swap(self) -> None:
        """Give each layer that carries an error through a weight the class that asks the rule."""
        for name, module in self.block.named_modules():
            if self.rule.keeps_exact(name):
                self._asked += [name] if name in self.rule.exact or has_weights(module) else []
            elif type(module) in OPERATIONS:
                self._swap(name, module, OPERATIONS[type(module)])
            elif isinstance(module, EXACT):
                self._exact.append(name)

    def remove(self) -> None:
        """Give the layers their own classes back."""
        for _, module, own in self._swapped:
            module.__class__ = own
            vars(module).pop("_feedback", None)
        self._swapped = []

    def with_state(self) -> dict[str, AtWeight]:
        """Return what has a state or changes with each pass, by the weight's name in the model."""
        counts = self.rule.traits.counts_passes
        return {name: at for name, at in self._weights.items() if counts or at.state}

    def describe(self) -> str:
        """Return in words what was changed."""
        names = ", ".join(name for name, _, _ in self._swapped) or "no layer"
        exact, asked = ", ".join(self._exact), ", ".join(self._asked)
        left = f"; exact, as no weight carries the error: {exact}" if exact else ""
        left += f"; exact, as asked: {asked}" if asked else ""
        return f"own backward for {names}{left}"

    def _swap(self, name: str, module: nn.Module, operation: type[nn.Module]) -> None:
        inputs_of = operation.inputs_of  # type: ignore[attr-defined]
        self._swapped.append((name, module, type(module)))
        module.__class__ = operation
        weights: AtWeights = {}
        for own, inputs in inputs_of(module).items():
            full = f"{name}.{own}"
            # The weight of a layer with one weight has the layer's stream.
            stream = stream_of(name if own == "weight" else full)
            at = AtWeight(self.mode, self.rule, module, own, stream, inputs)
            at.state = self.rule.start(getattr(module, own).detach(), at)
            weights[own] = self._weights[full] = at
        vars(module)["_feedback"] = weights


def has_weights(module: nn.Module) -> bool:
    """Whether a module holds parameters itself."""
    return any(True for _ in module.parameters(recurse=False))
