"""The module at whose output the error is taken, if the user names one."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from beyondprop._torch.modules import inside
from beyondprop._torch.pytrees import leaves
from beyondprop.core import Block, ForwardPass
from beyondprop.engine.arguments import Arguments
from beyondprop.errors import UserError
from beyondprop.rules.backprop import Backprop
from beyondprop.shapes import features_axis


@dataclass(frozen=True, eq=False)
class Output:
    """Where a model's error is taken.

    Attributes:
        name: Name of the module whose output carries the error.
        module: This module.
    """

    name: str
    module: nn.Module


@dataclass(frozen=True, eq=False)
class Ports:
    """Where a model's error is taken and its targets are found.

    Attributes:
        output: The module whose output carries the error; None for the model.
        arguments: The arguments of a call that rules read; None if they read none.
    """

    output: Output | None = None
    arguments: Arguments | None = None


def output_of(model: nn.Module, name: str | None) -> Output | None:
    """Return the module that carries the error; None for the model's own output.

    Raises:
        UserError: The model has no module of this name.
    """
    if name is None:
        return None
    if not isinstance(name, str):
        raise UserError(f"output= takes the name of one module, not {name!r}")
    modules = dict(model.named_modules(remove_duplicate=False))
    if not name or name not in modules:
        raise UserError(
            f"output='{name}' names no module; there are: {', '.join(candidates(model))}"
        )
    return Output(name, modules[name])


def candidates(model: nn.Module) -> list[str]:
    """Return the names of modules whose output may carry the error: the last ones."""
    leaves = [n for n, m in model.named_modules() if n and next(m.children(), None) is None]
    held = [n for n in leaves if any(True for _ in model.get_submodule(n).parameters())]
    return (held or leaves)[-3:]


def behind(model: nn.Module, output: Output) -> Iterator[str]:
    """Yield the names of modules that the model defines after the output module."""
    names = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    for name in names[names.index(output.name) + 1 :]:
        if not inside(name, output.name):
            yield name


def learn_before(blocks: Sequence[Block]) -> bool:
    """Whether a block before the last one, which makes the output, learns."""
    return any(block.rule.traits.learns for block in blocks[:-1])


def is_hidden(model: nn.Module, output: Output) -> bool:
    """Whether the model defines layers with parameters after the output module."""
    later = map(model.get_submodule, behind(model, output))
    return any(True for module in later for _ in module.parameters())


def see_classes(run: ForwardPass, outputs: Any) -> None:
    """Take the number of classes from the model's output, if a hidden layer carries the error.

    The layer that is defined last need not be the last to run.

    Args:
        run: The pass, in which the error is taken before the model's last layer.
        outputs: The model's return value.

    Raises:
        UserError: Blocks have already learned with a different number.
    """
    returned = [t for t in leaves(outputs) if t.is_floating_point() and t.dim() > 1]
    if len(returned) != 1:
        return
    classes = returned[0].shape[features_axis(returned[0], run.axes)]
    if run.errors and classes != run.classes:
        raise UserError(
            f"blocks have learned as if there were {run.classes} classes, but what the model "
            f"returns has shape {tuple(returned[0].shape)}: define the last layer last, or leave "
            "the schedule out"
        )
    run.classes, run.hidden = classes, True


def up_to(model: nn.Module, blocks: Sequence[Block], output: Output, named: bool) -> list[Block]:
    """Return the blocks up to the output; the last one makes it, with its exact gradient.

    Args:
        model: The model.
        blocks: Its blocks.
        output: The module whose output carries the error.
        named: Whether the user has named the blocks. Then all are used, in whatever order the model
            defines them: a forward pass shows whether one runs after the output.
    """
    later = set() if named else set(behind(model, output))
    before = [b for b in blocks if not b.modules or not _is_later(b.modules[0][0], later, output)]
    covers = [b for b in before if any(inside(output.name, name) for name, _ in b.modules)]
    if covers:
        last = covers[-1]
        exact = replace(last, rule=Backprop()) if last.rule.traits.ends_graph else last
        return [b for b in before if b is not last] + [exact]
    own = Block(output.name, Backprop(), ((output.name, output.module),), model)
    return [*before, own]


def _is_later(name: str, later: Collection[str], output: Output) -> bool:
    """Whether a default block is defined after the output.

    A norm and the stack of layers before it, siblings in one module, may be defined in any order.
    """
    stack = name.rpartition(".")[0]
    beside = stack.rpartition(".")[0] == output.name.rpartition(".")[0]
    return name in later and not (stack in later and beside)


def whole_problems(blocks: Sequence[Block]) -> Iterator[str]:
    """Yield a sentence if a rule runs the model itself."""
    for block in blocks[:1]:
        if block.rule.traits.whole_model:
            yield (
                f"{type(block.rule).__name__} runs the model itself, up to its own output: leave "
                "output= out"
            )
