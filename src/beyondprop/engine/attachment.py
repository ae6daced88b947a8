"""What is attached to a model: hooks and swapped classes, and the lesson under way."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from beyondprop._torch.pytrees import leaves, replaced
from beyondprop.engine.blocks import Block, children
from beyondprop.engine.detach import Cut, Lesson
from beyondprop.engine.fast.chain import TaughtSequential, fuse, is_plain_chain
from beyondprop.engine.functions import Output
from beyondprop.engine.graph import check_cuts
from beyondprop.engine.hooks import TapHook
from beyondprop.engine.report import report
from beyondprop.engine.state import Memory
from beyondprop.errors import UserError, changed
from beyondprop.layers.feedback import Feedback
from beyondprop.random.streams import stream_of
from beyondprop.rules import OperationRule
from beyondprop.rules.local.base import classes_of
from beyondprop.rules.model.base import WholePass
from beyondprop.schedules import Schedule


class Attachment:
    """Rules attached to a model. Made by `attach`.

    Attributes:
        model: The model, changed in place and never wrapped.
        blocks: The blocks in the order they run; the last one makes the output.
        report: What was changed and what was left alone; print it.
        needs_targets: Whether a forward pass must run inside ``with handle.targets(y)``.
        exact: Whether true gradients flow for now (see `exact_gradients`).
        schedule: When each block learns; None for the ordinary loop, after the forward pass.
        classes: How many outputs the model's last layer has, where that can be seen.
    """

    def __init__(self, model: nn.Module, blocks: Sequence[Block]) -> None:
        called = type(model).__name__
        self.model = model
        self.blocks = tuple(blocks)
        self.exact = False
        self.needs_targets = any(block.rule.needs_targets for block in self.blocks)
        self.memory = Memory(self.blocks)
        self.schedule: Schedule | None = None
        self.classes = classes_of(model)
        self._open = threading.local()
        self._checked = False
        self._targets: Tensor | None = None
        self._handles: list[RemovableHandle | WholePass] = []
        self._swapped: list[tuple[nn.Module, type[nn.Module]]] = []
        self._cuts: dict[Block, Cut] = {}
        self._tails: list[tuple[nn.Module, str, nn.Module]] = []
        try:
            changes = [block.rule.install(block, self) for block in self.blocks]
            self.memory.alone |= {
                type(b.rule).__name__: b.rule.alone for b in self.blocks if b.rule.alone
            }
            if self._cuts:
                self._hook()
            elif self.memory.needed:
                self._handles.append(model.register_forward_pre_hook(self._before_uncut))
        except BaseException:
            self.remove()
            raise
        self.report = report(called, model, self.blocks, changes, len(self.parameters()))
        vars(model)["_beyondprop"] = self

    @property
    def lesson(self) -> Lesson | None:
        """The innermost forward pass under way in this thread, if it is being taught."""
        stack = getattr(self._open, "stack", None)
        return stack[-1] if stack else None

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Let this thread run blocks by themselves inside; the model's own pass is left alone."""
        before = getattr(self._open, "aside", False)
        self._open.aside = True
        try:
            yield
        finally:
            self._open.aside = before

    @property
    def is_aside(self) -> bool:
        """Whether blocks are run by themselves just now."""
        return getattr(self._open, "aside", False)

    def __getstate__(self) -> dict[str, Any]:
        # A copy made inside a context, or after a pass that failed, starts outside of both.
        return {**vars(self), "exact": False, "_targets": None, "_open": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open = threading.local()

    def targets(self, targets: Tensor) -> AbstractContextManager[None]:
        """Give the rules the targets of the forward passes inside the context.

        Args:
            targets: Class numbers, shape ``(batch,)``, or values shaped like the model's output.
        """
        return Targets(self, targets)

    def parameters(self) -> list[nn.Parameter]:
        """Return the feedback that learns by gradients; the optimizer must hold it too.

        ``Optimizer([*model.parameters(), *handle.parameters()], ...)`` is right for every rule:
        where no feedback learns so, there are none. `model.state_dict` does not have them.
        """
        return self.memory.parameters()

    def state_dict(self) -> dict[str, Tensor]:
        """Return what a checkpoint needs beside the model's own state.

        Learned feedback, and of fixed feedback the seeds (as JSON, in bytes) and the shots of a
        photonic co-processor. Empty for rules that have neither.
        """
        return self.memory.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` returned.

        Raises:
            UserError: It was saved by other rules, with another seed, or on another model.
        """
        self.memory.load_state_dict(state)

    def follow(self, schedule: Schedule | None) -> None:
        """Have the blocks learn when the schedule says; None is the ordinary loop again.

        Raises:
            UserError: A rule that is attached cannot run under it; the message names what can.
        """
        if schedule is not None:
            schedule.check(self.blocks)
        self.schedule = schedule

    def remove(self) -> None:
        """Make the model the plain one again. Calling it twice does nothing."""
        for handle in self._handles:
            handle.remove()
        for module, plain in self._swapped:
            module.__class__ = plain
            for name in ("_feedback", "_chain", "_children", "_fused"):
                vars(module).pop(name, None)
        self._handles, self._swapped = [], []
        vars(self.model).pop("_beyondprop", None)

    def take_over(self, forward: WholePass) -> None:
        """Have the model's forward pass run by this, until it is removed."""
        vars(self.model)["forward"] = forward
        self._handles.append(forward)

    def cut(self, block: Block, cut: Cut) -> None:
        """Have the graph cut at a block's output."""
        self._cuts[block] = cut
        if cut.state:
            self.memory.holders[block.name] = cut

    def cut_of(self, block: Block) -> Cut | None:
        """Return the cut at a block's output, or None where the graph goes on."""
        return self._cuts.get(block)

    def swap(self, name: str, module: nn.Module, stand_in: Any, rule: OperationRule) -> None:
        """Give a layer the class with a backward of its own."""
        self._swapped.append((module, type(module)))
        module.__class__ = stand_in
        feedbacks = {}
        for own, inputs in stand_in.inputs_of(module).items():
            full = f"{name}.{own}"
            # The weight of a layer with one weight has the layer's stream.
            stream = stream_of(name if own == "weight" else full)
            feedbacks[own] = Feedback(self, rule, module, own, stream, inputs)
            weight = getattr(module, own).detach()
            feedbacks[own].state = rule.start(weight, feedbacks[own])
            if rule.paced or feedbacks[own].state:
                self.memory.holders[full] = feedbacks[own]
        vars(module)["_feedback"] = feedbacks

    def _hook(self) -> None:
        """Put in place what makes the cuts: hooks, or for a plain chain a class of its own."""
        if is_plain_chain(self.model, self.blocks):
            self._swapped.append((self.model, type(self.model)))
            self.model.__class__ = TaughtSequential
            vars(self.model)["_chain"] = [
                ([module for _, module in block.modules], self._cuts.get(block))
                for block in self.blocks
            ]
            vars(self.model)["_children"] = tuple(module for _, module in children(self.model))
            vars(self.model)["_fused"] = fuse(self.blocks, self._cuts)
            return
        taps = {block.tail: TapHook(self) for block in self._cuts if block.tail is not None}
        for block in self.blocks:
            for name, module in block.modules:
                if module in taps:
                    cut = self._cuts.get(block) if module is block.tail else None
                    taps[module].turns.append(cut)
                    parent, _, key = name.rpartition(".")
                    self._tails.append((self.model.get_submodule(parent), key, module))
        for tail, tap in taps.items():
            self._handles.append(tail.register_forward_hook(tap))
        self._handles.append(self.model.register_forward_pre_hook(self._before, with_kwargs=True))
        self._handles.append(self.model.register_forward_hook(self._after))
        self._handles.append(self.model.register_forward_hook(self._close, always_call=True))

    def _before(self, _model: nn.Module, arguments: Any, keywords: Any) -> None:
        self.begin((arguments, keywords))

    def _before_uncut(self, model: nn.Module, _inputs: Any) -> None:
        if torch.is_grad_enabled() and not self.exact:
            self.memory.begin(model.training)

    def _after(self, _model: nn.Module, _inputs: Any, outputs: Any) -> Any:
        return self.end(outputs)

    def _close(self, _model: nn.Module, _inputs: Any, _outputs: Any) -> None:
        self.close()

    def begin(self, inputs: Any) -> None:
        """Open the lesson of a forward pass that begins with these, if it is to be taught."""
        if not hasattr(self._open, "stack"):
            self._open.stack = []
        self._open.stack.append(None)
        self._open.stack[-1] = lesson = self.new_lesson()
        if lesson is not None:
            lesson.inputs = next(leaves(inputs), None)
            lesson.classes = self.classes

    def new_lesson(self) -> Lesson | None:
        """Return the lesson of a forward pass that begins, None if it is not to be taught."""
        if self.exact or not torch.is_grad_enabled():
            return None
        if self.memory.needed:
            self.memory.begin(self.model.training)
        if self.needs_targets and self._targets is None:
            rule = next(b.rule for b in self.blocks if b.rule.needs_targets)
            raise UserError(
                f"{type(rule).__name__} needs targets: run the forward pass inside "
                "`with handle.targets(y):`, or under torch.no_grad() or exact_gradients(model)"
            )
        for parent, key, tail in self._tails:
            if getattr(parent, key, None) is not tail:
                raise changed(key)
        schedule = self.schedule if self.model.training else None
        if schedule is not None:
            schedule.begin()
        return Lesson(self._targets, self.model.training, schedule)

    def close(self) -> None:
        """Leave the forward pass, finished or failed."""
        if getattr(self._open, "stack", None):
            self._open.stack.pop()

    def end(self, outputs: Any) -> Any:
        """Tie the taps of the forward pass to the model's outputs, and return the outputs tied."""
        lesson = self.lesson
        if lesson is None:
            return outputs
        found = [t for t in leaves(outputs) if t.is_floating_point() or t.is_complex()]
        lesson.open_reads(found)
        if not self._checked and not torch.compiler.is_compiling():
            check_cuts(self._cuts, lesson, found)
            self._checked = True
        if not lesson.handed:
            return outputs
        if lesson.schedule is not None:
            _check_guess(lesson, found)
        if not self.blocks[-1].rule.cuts:
            self._check_outputs(lesson, found)
        if lesson.schedule is not None and not any(t.requires_grad for t in found):
            # All has been learned, and nothing at the output asks for a gradient: the caller's
            # backward() is to find an end nevertheless.
            lesson.taps.append(torch.zeros((), requires_grad=True))
            lesson.small.append(None)
        if not lesson.taps:
            return outputs
        new = Output.apply(lesson, len(found), *found, *lesson.taps)
        lesson.taps = []
        if outputs is found[0]:
            return new[0]
        swaps = {id(old): fresh for old, fresh in zip(found, new, strict=True)}
        return replaced(outputs, lambda tensor: swaps.get(id(tensor), tensor))

    def _check_outputs(self, lesson: Lesson, found: Sequence[Tensor]) -> None:
        """See that the outputs can teach, and that the last block makes one."""
        if any(not t.dim() for t in found):
            raise UserError(
                "the model returns a scalar (its loss?), which cannot teach blocks sample by "
                "sample: attach to the module that returns the predictions"
            )
        exact = [t for t in found if t.requires_grad]
        if len(exact) == len(found) > 0:
            return
        if any(lesson.handed_on(t) for t in found):
            raise UserError(
                "the model returns the output of a block that its rule cuts off: give a block that "
                "makes an output Backprop(), by a pattern of its own, name blocks in the order "
                "they run, and return a hidden state only as hidden.detach()"
            )
        if not exact and any(p.requires_grad for _, p in self.blocks[-1].parameters()):
            raise UserError(
                f"no output of the model comes out of the last block, '{self.blocks[-1].name}': "
                "name the blocks in the order they run"
            )


def _check_guess(lesson: Lesson, found: Sequence[Tensor]) -> None:
    """See that the output is as blocks that learned by targets before it was known took it to be.

    Raises:
        UserError: It is not; the ordinary loop would not have taught them so.
    """
    guessed = next((error for error in lesson.errors if error is not None), None)
    if guessed is None:
        return
    if len(found) != 1:
        raise UserError(
            "a rule that learns by targets while the forward pass goes on teaches by one output "
            f"only; the model has {len(found)}: leave the schedule out"
        )
    if found[0].shape != guessed.shape:
        raise UserError(
            f"targets for an output of shape {tuple(guessed.shape)} do not fit an output of shape "
            f"{tuple(found[0].shape)}, and blocks have learned by them already: define the last "
            "layer last, give one value for each output, or leave the schedule out"
        )


class Targets(AbstractContextManager[None]):
    """The context of `Attachment.targets`; a generator would take longer than a small product."""

    __slots__ = ("_attachment", "_before", "_targets")

    def __init__(self, attachment: Attachment, targets: Tensor) -> None:
        self._attachment, self._targets = attachment, targets

    def __enter__(self) -> None:
        self._before, self._attachment._targets = self._attachment._targets, self._targets

    def __exit__(self, *_: object) -> None:
        self._attachment._targets = self._before
