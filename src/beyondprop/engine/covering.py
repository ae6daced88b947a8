"""The layers of a block that a layer rule covers, those that stay exact, and problems."""

from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from beyondprop._torch.modules import inside
from beyondprop.core import Block, LayerRule
from beyondprop.layers import EXACT, FORWARD, OPERATIONS, feedback_class, is_no_matrix


@dataclass(frozen=True)
class Covering:
    """The layers of a block under a layer rule, by name.

    Attributes:
        rule: The rule.
        layers: Layers that get a modified backward pass, each with the class that it gets.
        exact: Layers that keep their exact backward pass, as no weight in them carries the error.
        asked: Layers that keep it because the user named them in ``exact=``.
        problems: A sentence for each of the others.
    """

    rule: LayerRule
    layers: list[tuple[str, nn.Module, type[nn.Module]]] = field(default_factory=list)
    exact: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, name: str, module: nn.Module) -> None:
        """Add a module, without its submodules."""
        made, called = feedback_class(type(module)), type(self.rule).__name__
        if self.rule.keeps_exact(name):
            if name in self.rule.exact or has_weights(module):
                self.asked.append(name)
        elif made is None and not has_weights(module):
            return
        elif not vars(module).keys().isdisjoint(FORWARD):
            self.problems.append(
                f"'{name}' has its own forward method, so {called} cannot cover it"
            )
        elif made is not None:
            self.layers.append((name, module, made))
            self.problems.extend(_names_a_part(name, module, self.rule))
        elif isinstance(module, EXACT):
            self.exact.append(name)
        else:
            self._add_unknown(name, module)

    def add_parameter(self, name: str, parameter: Tensor) -> None:
        """Add a parameter that no known layer holds."""
        if self.rule.keeps_exact(name):
            self.asked.append(name)
        elif is_no_matrix(parameter):
            self.exact.append(name)
        else:
            called = type(self.rule).__name__
            self.problems.append(
                f"{called} covers layers, and '{name}' is a parameter on its own, of shape "
                f"{tuple(parameter.shape)}, which may be the weight of a product; "
                f"{_ways_out(name, called)}"
            )

    def _add_unknown(self, name: str, module: nn.Module) -> None:
        own = {f"{name}.{key}": p for key, p in module.named_parameters(recurse=False)}
        alone = next(module.children(), None) is None
        exact = all(is_no_matrix(p) or self.rule.keeps_exact(full) for full, p in own.items())
        if is_parametrized(module) or (alone and not exact):
            covered = ", ".join(layer.__name__ for layer in OPERATIONS)
            called, kind = type(self.rule).__name__, type(module).__name__
            self.problems.append(
                f"{called} cannot cover '{name}' ({kind}): it covers {covered}, and layers "
                f"registered with layers.register_operation; {_ways_out(name, called)}"
            )
        elif alone and not any(map(self.rule.keeps_exact, own)):
            self.exact.append(name)
        else:
            for full, parameter in own.items():
                self.add_parameter(full, parameter)


def covering(block: Block, rule: LayerRule) -> Covering:
    """Return how a layer rule covers a block."""
    found = Covering(rule)
    for name in block.loose:
        found.add_parameter(name, block.owner.get_parameter(name))
    made_of = ""
    for name, module in block.named_modules():
        if isinstance(module, ParametrizationList):
            made_of = name  # it computes a layer's weight, with exact gradients
        if not inside(name, made_of):
            found.add(name, module)
    return found


def has_weights(module: nn.Module) -> bool:
    """Whether a module holds parameters itself, or computes its weights by parametrizations."""
    return is_parametrized(module) or any(True for _ in module.parameters(recurse=False))


def _names_a_part(name: str, layer: nn.Module, rule: LayerRule) -> list[str]:
    parts = [key for key, _ in layer.named_parameters(recurse=False)]
    return [
        f"exact= names '{name}.{part}', a part of the layer '{name}': name the layer, "
        f"exact=('{name}',)"
        for part in parts
        if rule.keeps_exact(f"{name}.{part}")
    ][:1]


def _ways_out(name: str, called: str) -> str:
    return (
        f"to keep its exact backward, name it in {called}(exact=('{name}',)) or put it in a "
        "separate block with Backprop()"
    )
