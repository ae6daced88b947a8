"""What a rule of layers covers in a block, what stays exact in it, and what stands in the way."""

from dataclasses import dataclass, field

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from beyondprop._torch.modules import inside
from beyondprop.core import Block, LayerRule
from beyondprop.layers import EXACT, FORWARD, OPERATIONS, feedback_class


@dataclass(frozen=True)
class Covering:
    """The layers of a block as a rule of layers sees them, by their names.

    Attributes:
        layers: Those that get a backward of their own, each with the class that it gets.
        exact: What keeps its exact backward, as no weight in it carries the error.
        asked: What keeps it because one asked for that.
        problems: A sentence for each of the others.
    """

    layers: list[tuple[str, nn.Module, type[nn.Module]]] = field(default_factory=list)
    exact: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def covering(block: Block, rule: LayerRule) -> Covering:
    """Return what a rule of layers makes of a block."""
    found, called = Covering(), type(rule).__name__
    for name in block.loose:
        found.problems.append(
            f"{called} covers layers, and '{name}' is a parameter on its own, "
            "whose product would keep its exact backward: give it Backprop() to say so"
        )
    made_of = ""
    for name, module in block.named_modules():
        if isinstance(module, ParametrizationList):
            made_of = name  # in here a layer's weight is made, by exact gradients
        made = feedback_class(type(module))
        if rule.keeps_exact(name):
            if name in rule.exact or has_weights(module):
                found.asked.append(name)
        elif inside(name, made_of) or (made is None and not has_weights(module)):
            continue
        elif not vars(module).keys().isdisjoint(FORWARD):
            found.problems.append(f"'{name}' has a forward of its own, so {called} cannot cover it")
        elif made is not None:
            found.layers.append((name, module, made))
        elif isinstance(module, EXACT):
            found.exact.append(name)
        else:
            found.problems.append(_uncovered(name, module, called))
    return found


def has_weights(module: nn.Module) -> bool:
    """Whether a module holds parameters itself, or makes weights of others by parametrizations."""
    return is_parametrized(module) or any(True for _ in module.parameters(recurse=False))


def _uncovered(name: str, module: nn.Module, called: str) -> str:
    covered = ", ".join(layer.__name__ for layer in OPERATIONS)
    return (
        f"{called} cannot cover '{name}' ({type(module).__name__}): it covers "
        f"{covered}; to keep its exact backward, name it in "
        f"{called}(exact=('{name}',)) or put it in a block of its own with Backprop()"
    )
