"""Attaching rules to a model, and bypassing them for exact gradients."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import nn

from beyondprop._torch.modules import has_parameters
from beyondprop.core import Block, Rule
from beyondprop.engine.arguments import arguments_of
from beyondprop.engine.attachment import CHANGING, Attachment
from beyondprop.engine.blocks import Named, choose, default_patterns, ends_of_ties, placed
from beyondprop.engine.checks import block_problems, model_problems
from beyondprop.engine.detach import HANDLE, mode_of
from beyondprop.engine.ports import Ports, output_of, up_to, whole_problems
from beyondprop.engine.stacks import default_layers
from beyondprop.errors import UserError, check_type
from beyondprop.rules import Backprop, make


class AttachError(UserError):
    """The rules cannot be attached; the message lists every reason."""


def attach(
    model: nn.Module,
    rule: Rule | str | Mapping[str, Rule | str] | Mapping[Named, Rule | str],
    blocks: Sequence[str | Sequence[str]] | None = None,
    axes: str | Mapping[str, str] | None = None,
    output: str | None = None,
    targets: str | None = None,
    shift: int | None = None,
    samples: str | None = None,
) -> Attachment:
    """Train ``model`` with a rule other than end-to-end backpropagation, from the next forward on.

    The model is changed in place by hooks and class swaps: `state_dict` keys, parameters and the
    results of the forward pass stay the same, and so does your training loop.

    Args:
        model: Any module; attach before `torch.compile` and before wrapping it for several devices.
        rule: One rule for all blocks, or a rule for each pattern or tuple of names; the first match
            is used. A rule is an object or its short name: "dfa" is `DirectFeedbackAlignment()`.
        blocks: Names or `fnmatch` patterns of the modules that are blocks, in the order they run.
            A tuple of names makes one block of several modules, which ends after the last. If the
            last module contains the others, it only ends the block (`finer_blocks` returns such
            parts of the layers of transformers). A parameter named here that belongs to no block
            keeps `Backprop`. By default, in a chain (`nn.Sequential`), each child with parameters
            is a block, and activations, norms and poolings join the block before them; in other
            models, with ``output=``, each layer of a model that repeats one in an `nn.ModuleList`,
            or of its encoder and its decoder, is a block. Default blocks that are tied to the
            output's weights keep `Backprop`.
        axes: Meaning of the axes of the blocks' outputs, for all or by pattern of names: one name
            per axis, such as "batch tokens features", "tokens batch features", "nodes features" or
            "batch channels positions"; names that were flattened into one axis are in parentheses,
            as in "(batch tokens) features". The axes of the last block are those of the model's
            output. By default they are inferred from the type of the layer that made the output
            (see `beyondprop.shapes`).
        output: Name of the module whose output carries the error, such as "lm_head" or
            "transformer.ln_f", for models that compute the loss themselves or return a container
            that cannot be inspected. Parameters that the model defines after this module keep their
            exact gradient; those before it that belong to no block are taught with the blocks that
            follow. By default the model's own output.
        targets: Name of the argument of the model's call that holds targets, such as "labels"; then
            no ``handle.targets`` is needed. A loss that the model returns passes through
            `handle.loss` automatically.
        shift: Number of tokens by which these targets are ahead of the inputs in the model's loss.
            By default 1 for models of Hugging Face that predict the next token, else 0.
        samples: Name of the argument of the model's call that holds the sample of each node of
            graphs, such as "batch" or "data.batch", for blocks whose axes are "nodes features".

    Returns:
        The handle: `report`, `targets`, `remove`.

    Raises:
        AttachError: The rules cannot be attached; the message lists every problem.
    """
    check_type("the model", model, nn.Module, "a torch.nn.Module")
    _check_axes(axes)
    problems = list(model_problems(model))
    if problems:
        raise _error(problems)
    ports = Ports(output_of(model, output), arguments_of(model, targets, shift, samples))
    rules = _patterns(model, rule, blocks, ports)
    chosen = choose(model, rules, problems)
    if not chosen and not problems:
        problems.append("the model has no parameters to learn")
    if isinstance(rule, Mapping):
        chosen = _in_order(model, chosen)
    if chosen and ports.output is not None:
        problems += whole_problems(chosen)
        named = blocks is not None or isinstance(rule, Mapping)
        chosen = up_to(model, chosen, ports.output, named)
    elif chosen:
        chosen[-1] = _at_output(chosen[-1])
    if blocks is None and not isinstance(rule, Mapping):
        chosen = ends_of_ties(model, chosen)
    if chosen and output is not None and not any(b.rule in rules.values() for b in chosen):
        problems.append(
            f"nothing before output='{output}' would be taught by the rule, as its block "
            "keeps the exact gradient: name smaller blocks, which run before it, in blocks="
        )
    problems += block_problems(model, chosen, rules, ports)
    with CHANGING:
        problems = problems or list(model_problems(model))  # another thread may have been faster
        if problems:
            raise _error(problems)
        return Attachment(model, placed(chosen, axes), ports)


def attachment_of(model: nn.Module) -> Attachment | None:
    """Return the handle of the rules attached to ``model``, for example to a copy, or None."""
    check_type("the model", model, nn.Module, "a torch.nn.Module")
    found: Attachment | None = vars(model).get(HANDLE)
    return found


@contextmanager
def exact_gradients(model: nn.Module) -> Iterator[None]:
    """Use exact gradients of ``model`` inside the context, whatever rules are attached.

    Attacks and attributions need them: gradients through a feedback graph overstate robustness. The
    context applies to forward passes that begin inside it. If ``model`` is only a part of the
    attached model, it applies to the complete model. With activation checkpointing, run the
    backward pass inside the context too.

    A deep copy that is made inside the context has exact gradients as long as the context is open;
    a pickled copy does not.

    The context applies in every thread, unlike targets, which belong to one thread: PyTorch reruns
    the forward pass in its own threads, which do not know the calling thread.
    """
    check_type("the model", model, nn.Module, "a torch.nn.Module")
    found = (mode_of(module) for module in model.modules())
    context = list({id(mode): mode for mode in found if mode is not None}.values())
    with CHANGING:
        for mode in context:
            mode.contexts.append(context)
            mode.exact += 1  # a count, as contexts of several threads or generators may overlap
    try:
        yield
    finally:
        with CHANGING:
            for mode in context:  # copies that were made inside are in it too
                mode.contexts = [other for other in mode.contexts if other is not context]
                mode.exact -= 1


def _patterns(
    model: nn.Module,
    rule: Rule | str | Mapping[str, Rule | str] | Mapping[Named, Rule | str],
    blocks: Sequence[str | Sequence[str]] | None,
    ports: Ports,
) -> Mapping[Named, Rule]:
    if isinstance(rule, Mapping):
        if blocks is not None:
            raise UserError("give either rules by pattern or blocks=, not both")
        return {named: _rule(each) for named, each in rule.items()}
    one = _rule(rule)
    if blocks is None:
        blocks = _default_names(model, one, ports)
    else:
        _check_blocks(blocks)
    names = [n if isinstance(n, str) else tuple(n) for n in blocks]
    loose = _loose(model, names, one)
    return dict.fromkeys(loose, Backprop()) | dict.fromkeys(
        (n for n in names if n not in loose), one
    )


def _loose(model: nn.Module, names: Sequence[Named], rule: Rule) -> list[Named]:
    """Return the names of parameters that the rule cannot teach, because it teaches modules."""
    if not (rule.traits.ends_graph and rule.traits.learns):
        return []
    parameters = dict(model.named_parameters())
    return [name for name in names if name in parameters]


def _check_blocks(blocks: Any) -> None:
    if isinstance(blocks, str):
        raise UserError(f"blocks= takes a list of names: write blocks=['{blocks}']")
    if not _names(blocks, (str, Collection)):
        raise UserError(f"blocks= takes a list of names, such as ['0', '2'], not {blocks!r}")
    if not blocks:
        raise UserError("blocks= is empty: name at least one module, or leave it out")
    for each in blocks:
        if not isinstance(each, str) and not _names(each, str):
            raise UserError(
                f"blocks= takes names, and tuples of names for one block of several modules, not "
                f"{each!r}"
            )


def _names(value: Any, kinds: type | tuple[type, ...]) -> bool:
    listed = isinstance(value, Collection) and not isinstance(value, bytes | bytearray | Mapping)
    return listed and all(isinstance(each, kinds) for each in value)


def _check_axes(axes: object) -> None:
    check_type(
        "axes",
        axes,
        (str, Mapping, type(None)),
        "names such as 'batch tokens features', or these by the names of blocks",
    )
    if isinstance(axes, Mapping):
        for name, named in axes.items():
            check_type("the name of a block in axes", name, str, "a text")
            check_type(f"axes of '{name}'", named, str, "names such as 'batch tokens features'")


def _default_names(model: nn.Module, rule: Rule, ports: Ports) -> Sequence[str]:
    """Return the names of the default blocks.

    Raises:
        AttachError: There is no safe default.
    """
    names = default_patterns(model, rule)
    if names is not None:
        return names
    layers = default_layers(model)
    if layers is not None and ports.output is not None:
        return layers
    suggestion = [n for n, m in model.named_children() if has_parameters(m)]
    if not suggestion:
        raise AttachError(
            f"{type(model).__name__} has no submodule that can be a block: put it in an "
            "nn.Sequential, and attach to that"
        )
    stack = "" if layers is None else layers[0].rpartition(".")[0]
    instead = f"; or name the module that carries the error in output=, then '{stack}.*' are blocks"
    raise AttachError(
        f"{type(model).__name__} is not a chain of modules, so there are no safe default "
        f"blocks: name them in the order they run, for example blocks={suggestion}"
        f"{instead if stack else ''}"
    )


def _rule(rule: object) -> Rule:
    """Return a rule, given itself or its short name."""
    if isinstance(rule, str):
        return make(rule)
    if not isinstance(rule, Rule):
        called = rule.__name__ if isinstance(rule, type) else repr(rule)
        raise UserError(
            f"attach takes a rule such as DirectFeedbackAlignment() or its short name 'dfa', not "
            f"{called}: call the class, or build a rule with arguments by rules.make"
        )
    return rule


def _in_order(model: nn.Module, blocks: Sequence[Block]) -> list[Block]:
    """Return blocks in the order in which the model defines their modules."""
    places = {name: place for place, (name, _) in enumerate(model.named_modules())}
    return sorted(blocks, key=lambda block: places.get(block.name, -1))


def _at_output(block: Block) -> Block:
    """Return the block that makes the output, with `Backprop` if its rule requires that."""
    return replace(block, rule=Backprop()) if block.rule.traits.exact_at_output else block


def _error(problems: Sequence[str]) -> AttachError:
    if len(problems) == 1:
        return AttachError(f"cannot attach: {problems[0]}")
    return AttachError("cannot attach:\n" + "\n".join(f"- {problem}" for problem in problems))
