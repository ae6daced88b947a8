"""Checks that rules can be attached to a model and can teach it, with messages for the user."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import islice, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import is_lazy

from beyondprop._torch.modules import inside, is_chain
from beyondprop._torch.private import is_compiled
from beyondprop._torch.pytrees import leaves
from beyondprop.core import Block, ForwardPass, Rule
from beyondprop.engine.blocks import Named
from beyondprop.engine.covering import covering
from beyondprop.engine.detach import HANDLE, OpenPass, mode_of
from beyondprop.engine.ports import Output, Ports, candidates
from beyondprop.errors import UserError
from beyondprop.rules.backprop import Backprop


def model_problems(model: nn.Module) -> Iterator[str]:
    """Yield a sentence for each reason why no rule can be attached to the model."""
    if isinstance(model, (DataParallel, DistributedDataParallel)):
        yield "the model is already wrapped for several devices: attach to model.module instead"
    if is_compiled(model):
        yield "the model is already compiled: attach first, then call torch.compile"
    if isinstance(model, torch.jit.ScriptModule):
        yield "the model is a ScriptModule, whose code is fixed: attach to the original nn.Module"
    yield from _attached(model)
    lazy = [name for name, parameter in model.named_parameters() if is_lazy(parameter)]
    if lazy:
        yield f"'{lazy[0]}' has no shape yet: run the model once on a batch first"


def _attached(model: nn.Module) -> Iterator[str]:
    """Yield a sentence if a part of the model already has rules, with the path of their handle."""
    marked = [(name, part) for name, part in model.named_modules() if mode_of(part) is not None]
    if marked:
        holder = next((name for name, part in marked if HANDLE in vars(part)), None)
        path = "model" if not holder else f"model.get_submodule('{holder}')"
        handle = (
            "the handle of the model it is also a part of"
            if holder is None
            else f"its handle, bp.attachment_of({path})"
        )
        yield (
            f"{_called(marked[0][0])} has rules attached already: call remove() on {handle}, first"
        )


def block_problems(
    model: nn.Module, blocks: Sequence[Block], rules: Mapping[Named, Rule], ports: Ports
) -> Iterator[str]:
    """Yield a sentence for each reason why these rules cannot teach these blocks.

    Args:
        model: The model.
        blocks: Its blocks.
        rules: The rules by pattern, as the user gave them.
        ports: Where the error is taken and targets are found.
    """
    yield from dict.fromkeys(problem for b in blocks for problem in b.rule.problems(b))
    yield from dict.fromkeys(problem for b in blocks for problem in _uncovered_layers(b))
    yield from _unmatched(model, rules.values())
    yield from _beside_whole(model, blocks)
    if any(rule.traits.ends_graph for rule in rules.values()):
        if ports.output is None:  # otherwise the first pass shows what learns, see `check_ends`
            yield from _uncovered(model, blocks, rules)
        yield from _tied(model, blocks)
        yield from _in_place(model, blocks)
        yield from _starved(model, blocks)


def _unmatched(model: nn.Module, rules: Iterable[Rule]) -> Iterator[str]:
    names = [name for name, _ in (*model.named_modules(), *model.named_parameters())]
    patterns = {p for rule in rules for p in getattr(rule, "exact", ())}
    for pattern in sorted(patterns):
        if not any(fnmatchcase(name, pattern) for name in names):
            yield f"exact='{pattern}' matches no module or parameter of the model"


def _uncovered_layers(block: Block) -> Iterator[str]:
    """Yield a sentence for each layer with weights that the rule cannot cover."""
    rule: Any = block.rule
    if "weights" in rule.traits.needs:
        yield from covering(block, rule).problems


def _beside_whole(model: nn.Module, blocks: Sequence[Block]) -> Iterator[str]:
    whole = next((block.rule for block in blocks if block.rule.traits.whole_model), None)
    called = type(whole).__name__
    if whole is None:
        return
    if any(block.rule != whole for block in blocks):
        yield (
            f"{called} teaches the model as a whole, in its own forward pass, so it cannot be "
            f"combined with another rule: attach(model, {called}(...)), without patterns"
        )
    elif any(
        block is None and model.get_parameter(name).requires_grad
        for name, block in _owners(model, blocks).items()
    ):
        yield f"{called} teaches the model as a whole: leave blocks= out"


def _owners(model: nn.Module, blocks: Sequence[Block]) -> dict[str, Block | None]:
    """Return the block that contains each parameter, by each of its names in the model."""
    covers = [(name, b) for b in blocks for name in (*(n for n, _ in b.modules), *b.loose)]
    return {
        name: next((block for cover, block in covers if inside(name, cover)), None)
        for name, _ in model.named_parameters(remove_duplicate=False)
    }


def _uncovered(
    model: nn.Module, blocks: Sequence[Block], rules: Mapping[Named, Rule]
) -> Iterator[str]:
    owners = _owners(model, blocks)
    named = dict(model.named_parameters(remove_duplicate=False))
    covered = {id(named[n]) for n, block in owners.items() if block is not None}
    alone = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in covered]
    if alone:
        covers = [name for block in blocks for name, _ in block.modules]
        places = list(dict.fromkeys(_place(name, covers) for name in alone))
        more = f" and {len(places) - 12} more" if len(places) > 12 else ""
        yield (
            f"no block holds {', '.join(places[:12])}{more}, and parameters outside all blocks "
            "could silently stop learning: name them in blocks=, or give them a rule by patterns, "
            f"for example {_spelled({**dict.fromkeys(places, Backprop()), **rules})}"
        )


def _place(name: str, covers: Iterable[str]) -> str:
    """Return the module that holds a parameter, or the parameter if that module holds blocks."""
    module = name.rpartition(".")[0]
    return module if module and not any(inside(each, module) for each in covers) else name


def _spelled(rules: Mapping[Named, Rule]) -> str:
    """Return rules by pattern as a Python expression, cut after twelve."""
    shown = [f"{named!r}: {type(rule).__name__}()" for named, rule in islice(rules.items(), 12)]
    return "{" + ", ".join(shown) + (", …}" if len(rules) > 12 else "}")


def _tied(model: nn.Module, blocks: Sequence[Block]) -> Iterator[str]:
    first: dict[int, str] = {}
    owners = _owners(model, blocks)
    for name, block in owners.items():
        parameter = model.get_parameter(name)
        other = first.setdefault(id(parameter), name)
        pair = (block, owners[other])
        cut = any(b is not None and b.rule.traits.ends_graph for b in pair)
        if parameter.requires_grad and block is not owners[other] and cut:
            yield (
                f"'{name}' and '{other}' are one tied parameter in two blocks, which would teach "
                "it different things: untie them, put both in one block, or give both Backprop() "
                "in separate patterns"
            )


def _in_place(model: nn.Module, blocks: Sequence[Block]) -> Iterator[str]:
    owners = {id(module): block for block in blocks for _, module in block.named_modules()}
    leading = {id(leaf): b for b, block in pairwise(blocks) for leaf in _first_leaf(block)}
    before: Block | None = None
    for name, module in model.named_modules():
        own = owners.get(id(module))
        worked_on = before if own is None else leading.get(id(module))
        before = own or before
        if worked_on and _shares_output(worked_on) and getattr(module, "inplace", False):
            yield (
                f"'{name}' works in place on the output of the block before it: set inplace=False "
                "or make it part of that block"
            )


def _shares_output(block: Block) -> bool:
    """Whether the next block gets a tensor that shares memory with the output of this block."""
    traits = block.rule.traits
    copied = "output" in traits.needs and "sent_back" not in traits.needs
    return traits.ends_graph and traits.learns and not copied


def _starved(model: nn.Module, blocks: Sequence[Block]) -> Iterator[str]:
    for before, block in pairwise(blocks):
        learns = any(parameter.requires_grad for _, parameter in before.parameters())
        traits = before.rule.traits
        hears = not traits.ends_graph or "sent_back" in traits.needs
        if is_chain(model) and learns and hears and not block.rule.traits.sends_gradient:
            yield (
                f"'{before.name}' would never learn: '{block.name}' after it sends no signal back"
            )


def _first_leaf(block: Block) -> Iterator[nn.Module]:
    for _, module in block.named_modules():
        if next(module.children(), None) is None:
            yield module
            return


def _called(name: str) -> str:
    return f"'{name}'" if name else "the model"


def check_covered(model: nn.Module, blocks: Sequence[Block]) -> None:
    """Check that blocks hold all trainable parameters, which may have changed since attaching.

    Raises:
        UserError: A trainable parameter is in no block.
    """
    for problem in _uncovered(model, blocks, {}):
        raise UserError(
            f"the trainable parameters have changed since the rules were attached: {problem}"
        )


def check_outputs(
    model: nn.Module,
    blocks: Sequence[Block],
    output: Output | None,
    open_pass: OpenPass,
    outputs: Sequence[Tensor],
) -> None:
    """Check that the outputs can carry an error, and that the last block makes one of them.

    Raises:
        UserError: An output cannot, or the last block makes none.
    """
    last = blocks[-1]
    traits = [block.rule.traits for block in blocks]
    hears = any("error" in each.needs or each.one_output for each in traits)
    if hears and any(not t.dim() for t in outputs):
        names = ", ".join(f"output='{name}'" for name in candidates(model))
        raise UserError(
            "the model returns a scalar (its loss?), which cannot teach blocks sample by "
            "sample: name the module that carries the error in attach(..., output=...); "
            f"candidates: {names}"
        )
    exact = [t for t in outputs if t.requires_grad]
    if len(exact) == len(outputs) > 0:
        return
    if any(open_pass.is_detached(t) for t in outputs):
        if output is not None:
            end = open_pass.ended[-1].name
            raise UserError(
                f"output='{output.name}' returns what block '{end}' made, whose graph its rule "
                f"ends: name a module after that block that returns one tensor, or output='{end}'"
            )
        raise UserError(
            "the model returns the output of a block whose graph its rule ends: give a block that "
            "makes an output Backprop() in a separate pattern (a rule of your own does so itself "
            "with exact_at_output=True in its traits), name blocks in the order they run, and "
            "return a hidden state only as hidden.detach()"
        )
    if not exact and any(p.requires_grad for _, p in last.parameters()):
        raise UserError(
            f"no output of the model comes out of the last block, '{last.name}': "
            "name the blocks in the order they run"
        )


def check_classes(run: ForwardPass, blocks: Sequence[Block], outputs: Any) -> None:
    """Check that the model's output has the number of classes that its last layer shows.

    The last layer is the one that the model defines last, which need not be the last to run.

    Args:
        run: The pass.
        blocks: The blocks of the model.
        outputs: The model's return value.

    Raises:
        UserError: The numbers differ, and a rule relies on them.
    """
    counting = [b.rule for b in blocks if b.rule.traits.counts_classes]
    returned = [t for t in leaves(outputs) if t.is_floating_point() and t.dim() > 1]
    if not counting or len(returned) != 1 or run.classes in (None, *returned[0].shape[1:]):
        return
    called = type(counting[0]).__name__
    raise UserError(
        f"{called} assumes {run.classes} classes, the number of outputs of the layer that the "
        f"model defines last, but the model returns shape {tuple(returned[0].shape)}: define the "
        f"last layer last, or set {called}(..., classes=…)"
    )


def check_guess(run: ForwardPass, outputs: Sequence[Tensor]) -> None:
    """Check the output against the shape that blocks assumed when they learned before it was known.

    Raises:
        UserError: The shapes differ, so these blocks learned differently than in the ordinary loop.
    """
    guessed = next((error for error in run.errors if error is not None), None)
    if guessed is None:
        return
    if len(outputs) != 1:
        raise UserError(
            "a rule that learns by targets during the forward pass supports one output only; the "
            f"model has {len(outputs)}: leave the schedule out"
        )
    # At a hidden layer the error has one feature per class of the model, not the layer's width.
    features = -1 if run.hidden else None
    if outputs[0].shape[:features] != guessed.shape[:features]:
        raise UserError(
            f"targets for an output of shape {tuple(guessed.shape)} do not fit an output of shape "
            f"{tuple(outputs[0].shape)}, and blocks have learned by them already: define the last "
            "layer last, give one value for each output, or leave the schedule out"
        )
