"""Layers that temporarily get a modified backward pass, by another class."""

from typing import Any, NamedTuple

from torch import Tensor, nn

from beyondprop._torch.modules import resting
from beyondprop.core import AtWeight, Block, LayerRule, Mode
from beyondprop.engine.covering import covering
from beyondprop.engine.rule_state import state_of
from beyondprop.errors import UserError
from beyondprop.layers import AtWeights, is_made_of, is_transposed
from beyondprop.random.streams import stream_of


class Swap(NamedTuple):
    """A layer and its own class."""

    name: str
    layer: nn.Module
    own: type[nn.Module]


class SwappedLayers:
    """The layers of one block under a layer rule.

    Args:
        block: The block.
        rule: The rule.
        mode: The settings of the model's passes.
    """

    def __init__(self, block: Block, rule: LayerRule, mode: Mode) -> None:
        self.block, self.rule, self.mode = block, rule, mode
        self._weights: dict[str, AtWeight] = {}
        self._swapped: list[Swap] = []
        self._left = ""

    def swap(self) -> None:
        """Give each layer that carries an error through a weight the class that uses the rule."""
        found = covering(self.block, self.rule)
        for name, layer, made in found.layers:
            self._swap(name, layer, made)
        exact, asked = ", ".join(found.exact), ", ".join(found.asked)
        self._left = f"; exact, as no weight carries the error: {exact}" if exact else ""
        self._left += f"; exact, as asked: {asked}" if asked else ""

    def check(self) -> None:
        """Check that `remove` can restore the class of every layer.

        Raises:
            UserError: A layer's class was changed in the meantime.
        """
        for swap in self._swapped:
            _without(swap)

    def remove(self) -> None:
        """Restore the layers' own classes."""
        for swap in self._swapped:
            swap.layer.__class__ = _without(swap)
            vars(swap.layer).pop("_feedback", None)
        self._swapped = []

    def with_state(self) -> dict[str, AtWeight]:
        """Return weights that have a state or change with each pass, by their names in the
        model."""
        counts = self.rule.traits.counts_passes
        return {name: at for name, at in self._weights.items() if counts or at.state}

    def describe(self) -> str:
        """Return a description of the change."""
        names = ", ".join(swap.name for swap in self._swapped) or "no layer"
        return f"own backward for {names}{self._left}"

    def _swap(self, name: str, layer: nn.Module, made: Any) -> None:
        self._swapped.append(Swap(name, layer, type(layer)))
        layer.__class__ = made
        weights: AtWeights = {}
        for own, inputs in made.inputs_of(layer).items():
            full = f"{name}.{own}"
            # The parameter "weight" has the stream of its layer.
            stream = stream_of(name if own == "weight" else full)
            at = AtWeight(
                self.mode, self.rule, layer, own, stream, inputs, transposed=is_transposed(made)
            )
            with resting(layer):
                _check_weight(at, full)
                at.state = state_of(self.rule, self.rule.start(at.weight().detach(), at))
            weights[own] = self._weights[full] = at
        vars(layer)["_feedback"] = weights


def _check_weight(at: AtWeight, name: str) -> None:
    """Check that the operation of a layer names a weight that the layer has."""
    weight = getattr(at.layer, at.name, None)
    if not isinstance(weight, Tensor):
        raise UserError(
            f"'{name}' is not a weight: correct inputs_of of the operation that names it"
        )
    if at.inputs < 1 or weight.numel() % at.inputs:
        raise UserError(
            f"'{name}', of shape {tuple(weight.shape)}, cannot sum over {at.inputs} inputs: "
            "correct inputs_of of its layer's operation"
        )


def _without(swap: Swap) -> type[nn.Module]:
    """Return the class of a layer without the operation: its own, or a later class derived from it.

    A parametrization gives a layer a new class, which derives from the layer's current one.
    """
    now: Any = type(swap.layer)
    if is_made_of(now, swap.own):
        return swap.own
    (base, *others) = now.__bases__
    if others or not is_made_of(base, swap.own):
        raise UserError(
            f"the class of '{swap.name}' was changed to {now.__name__} after the rules were "
            "attached: undo this before remove()"
        )
    inside = {k: v for k, v in vars(now).items() if k not in ("__dict__", "__weakref__")}
    name = now.__name__.replace(base.__name__, swap.own.__name__)
    again: type[nn.Module] = type(now)(name, (swap.own,), inside)
    return again
