"""The forward passes of an attached model: opened, checked, tied to their outputs, closed."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

from beyondprop._torch.pytrees import leaves, replaced
from beyondprop._torch.tracing import check_run, refuse_export
from beyondprop.core import Block, ForwardPass, Mode, Schedule
from beyondprop.engine.arguments import Given
from beyondprop.engine.checks import check_classes, check_covered, check_guess, check_outputs
from beyondprop.engine.detach import Current, OpenPass, Taught
from beyondprop.engine.graph import check_ends, check_reached, passes_the_ends
from beyondprop.engine.joint import HandedOn, Joint
from beyondprop.engine.members import Members
from beyondprop.engine.ports import Ports, is_hidden, see_classes
from beyondprop.engine.scale import scale_watch, told_scale
from beyondprop.engine.spreading import check_frozen, check_spreading
from beyondprop.engine.state import LearnedState
from beyondprop.engine.targets import OPEN
from beyondprop.errors import UserError, changed
from beyondprop.shapes import classes_of

NOTHING = Given()


class Passes:
    """The handling of a model's forward passes, called by hooks and fast forms.

    Attributes:
        model: The model.
        blocks: Its blocks, in the order they run.
        output: The module whose output carries the error; None for the model.
        arguments: The model's arguments that rules read; None if they read none.
        mode: Settings of the next passes.
        current: The current pass of each thread.
        state: The state kept between passes.
        taught: The handling of the end of each block whose graph ends.
        schedule: When blocks learn; None for the joint schedule.
        watch: Records how losses are scaled, if a rule's signals do not scale with them.
        expected: Modules that must not be replaced: parent, name in it, module.
        members: All modules, if a rule must know every one; else None.
    """

    def __init__(self, model: nn.Module, blocks: Sequence[Block], ports: Ports) -> None:
        self.model = model
        self.output, self.arguments = ports.output, ports.arguments
        self.blocks = tuple(blocks)
        self.mode = Mode()
        self.current = Current()
        self.state = LearnedState(self.mode, self.blocks)
        self.taught: dict[Block, Taught] = {}
        self.schedule: Schedule | None = None
        self.expected: list[tuple[nn.Module, str, nn.Module]] = []
        self.members = (
            Members(model, self.blocks, self.mode) if Members.matter(self.blocks) else None
        )
        self.classes = classes_of(model)
        self._hidden = ports.output is not None and is_hidden(model, ports.output)
        held = {id(p) for block in self.blocks for _, p in block.parameters()}
        others = any(id(p) not in held for p in model.parameters())
        self._may_be_hidden = ports.output is not None and (self._hidden or others)
        self._needs_targets = next(
            (type(b.rule).__name__ for b in self.blocks if "targets" in b.rule.traits.needs), None
        )
        self._checked = self._counted = False
        self._resting: list[nn.Parameter] = []  # frozen when the graph was checked
        self.watch = scale_watch(self.blocks)
        self._device: torch.device | None = None
        self._frozen = [b for b in self.blocks if not b.rule.traits.learns]

    @property
    def needs_targets(self) -> bool:
        """Whether a rule needs targets."""
        return self._needs_targets is not None

    def before_model(self, _model: nn.Module, inputs: Any, keywords: Any) -> None:
        """Open a forward pass: the forward pre-hook of the model."""
        first = inputs[0] if inputs and isinstance(inputs[0], Tensor) else (inputs, keywords)
        current = self.current  # enter() and leave() inlined, as calls would slow down small nets
        current.outer.append(current.open_pass)
        current.open_pass = None  # after an error in here no hook may see the outer pass
        given = None if self.arguments is None else self.arguments.of(inputs, keywords)
        current.open_pass = self.new_pass(first, given)

    def after_model(self, _model: nn.Module, _inputs: Any, outputs: Any) -> Any:
        """Tie the ends of the pass to the outputs: the forward hook of the model."""
        open_pass = self.current.open_pass
        return outputs if open_pass is None else self.tie(outputs, open_pass)

    def after_output(self, module: nn.Module, inputs: Any, outputs: Any) -> Any:
        """Tie the ends of the pass to the output that carries the error: its module's hook."""
        open_pass = self.current.open_pass
        if open_pass is None or open_pass.run.apart:
            return outputs
        if open_pass.tied:
            assert self.output is not None
            raise UserError(
                f"output='{self.output.name}' runs twice in one forward pass, so it does not say "
                "where the error is taken: name a module that runs once"
            )
        open_pass.tied = True
        return self.after_model(module, inputs, outputs)

    def after_loss(self, _model: nn.Module, _inputs: Any, outputs: Any) -> Any:
        """Make losses that the model returns report their scale: the forward hook of the model.

        It replaces `after_model` if another module's output carries the error.
        """
        open_pass = self.current.open_pass
        if open_pass is None:
            return outputs
        if not open_pass.tied:
            assert self.output is not None
            raise UserError(
                f"output='{self.output.name}' did not run in this forward pass, so nothing would "
                "be taught: name a module that runs, or use bp.exact_gradients(model)"
            )

        self._check_classes(open_pass, outputs)
        if self._may_be_hidden and self._needs_targets is not None:
            see_classes(open_pass.run, outputs)

        def told(tensor: Tensor) -> Tensor:
            if not tensor.requires_grad:
                return tensor
            if passes_the_ends(self.taught, tensor):
                if tensor.dim():
                    handed: Tensor = _handed_on(tensor, [tensor])
                    return handed
                raise UserError(
                    "a loss that the model returns reaches taught blocks without passing the "
                    "module that output= names, so they would learn from two signals: leave that "
                    "part of the loss out, or detach it"
                )
            is_loss = not tensor.dim() and self.watch is not None
            return told_scale(tensor, open_pass.share) if is_loss else tensor

        return replaced(outputs, told)

    def close_model(self, _model: nn.Module, _inputs: Any, _outputs: Any) -> None:
        """Leave the forward pass, finished or failed."""
        current = self.current
        current.open_pass = current.outer.pop() if current.outer else None

    def begin(self, model: nn.Module, _inputs: Any) -> None:
        """Begin a pass of a model without ended graphs whose rules have a state."""
        if self.members is not None:
            self.members.check()
        if torch.is_grad_enabled() and not self.mode.exact:
            self._begin(model.training)

    def _begin(self, training: bool) -> None:
        """Check the state kept between passes, and count the pass."""
        state = self.state
        if torch.compiler.is_compiling():
            if torch.compiler.is_exporting():
                refuse_export()
            state.begin_uncompiled(training)
            return
        parameter = next(self.model.parameters(), None)
        device = None if parameter is None else parameter.device
        if device != self._device or state.unsettled or (state.alone and _distributed()):
            check_run(parameter)
            state.check()
            self._device = device
        self.mode.number += training

    def new_pass(self, inputs: Any = None, given: Given | None = None) -> OpenPass | None:
        """Return a new forward pass; None if it is not taught."""
        run = self.new_run(inputs, given)
        if run is None:
            return None
        joint = Joint()
        schedule: Schedule = joint
        if self.schedule is not None and run.training:
            schedule = self.schedule
            schedule.begin()
        if self._resting and any(p.requires_grad for p in self._resting):
            self._checked = False
        first = self.output is not None and not self._checked and not torch.compiler.is_compiling()
        share = 1.0 if given is None else given.share
        return OpenPass(run, joint, schedule, share=share, cut=[] if first else None)

    def new_run(self, inputs: Any = None, given: Given | None = None) -> ForwardPass | None:
        """Return the part of a new forward pass that rules see; None if it is not taught."""
        if self.mode.exact or not torch.is_grad_enabled():
            return None
        if torch.compiler.is_exporting():  # first: much of what follows cannot be exported
            refuse_export()
        if self.members is not None:
            self.members.check()
        training = self.model.training
        first = inputs if isinstance(inputs, Tensor) else next(leaves(inputs), None)
        if self.state.stateful or self.state.alone:
            self._begin(training)
        if self._frozen:
            check_frozen(self._frozen)
        given = given or NOTHING
        targets, chain = given.targets, OPEN.get()
        while (
            targets is None and chain is not None
        ):  # inlined, as a function call would slow down small nets
            found, chain = chain
            targets = found.targets if found.passes is self else None
        if self._needs_targets is not None and targets is None:
            check_run(first)
            labels = None if self.arguments is None else self.arguments.labels
            named = "" if labels is None else f"call the model with {labels.name}=, or "
            raise UserError(
                f"{self._needs_targets} needs targets: {named}run the forward pass inside "
                "`with handle.targets(y):`, or under torch.no_grad() or bp.exact_gradients(model)"
            )
        for parent, key, module in self.expected:
            if getattr(parent, key, None) is not module:
                raise changed(key)
        axes = self.blocks[-1].axes
        return ForwardPass(
            first,
            targets,
            training,
            self.mode.number,
            self.classes,
            self._hidden,
            axes,
            given.samples,
        )

    def tie(self, outputs: Any, open_pass: OpenPass) -> Any:
        """Return the model's outputs, tied to the ends of the forward pass."""
        joint = open_pass.joint
        if type(outputs) is Tensor and outputs.is_floating_point():
            found = [outputs]
        else:
            found = [t for t in leaves(outputs) if t.is_floating_point() or t.is_complex()]
        leaked = [t for t in found if open_pass.is_detached(t)] if len(found) > 1 else []
        if leaked and len(leaked) < len(found):
            found = [t for t in found if not open_pass.is_detached(t)]
            outputs = _handed_on(outputs, leaked)
        if joint.reading:
            joint.prepare(found)
        if not self._checked and not torch.compiler.is_compiling():
            self._check_learning(open_pass, found)
        if not open_pass.detached and open_pass.exchange is None:
            return outputs
        if open_pass.schedule is not joint:
            check_guess(open_pass.run, found)
            if not any(t.requires_grad for t in found):
                joint.tie_nothing()
        if not self.blocks[-1].rule.traits.ends_graph:
            one = len(found) == 1 and found[0].requires_grad and found[0].dim() > 0
            if not one:
                check_outputs(self.model, self.blocks, self.output, open_pass, found)
        if not joint.ties and open_pass.exchange is None:
            return outputs
        tied = joint.tie(open_pass.run, found, self.watch)
        if outputs is found[0]:
            return tied[0]
        swaps = {id(old): new for old, new in zip(found, tied, strict=True)}
        return replaced(outputs, lambda tensor: swaps.get(id(tensor), tensor))

    def _check_classes(self, open_pass: OpenPass, outputs: Any) -> None:
        """Check once that the number of classes is that of the model's output."""
        if not self._counted and not torch.compiler.is_compiling():
            check_classes(open_pass.run, self.blocks, outputs)
            self._counted = True

    def _check_learning(self, open_pass: OpenPass, outputs: Sequence[Tensor]) -> None:
        """Check that each trainable parameter gets one signal; once, and again after unfreezing."""
        joint, output, cut = open_pass.joint, self.output, open_pass.cut
        reached = check_ends(self.taught, open_pass.ended, joint.ties, joint.blocks, outputs)
        if output is None:
            check_covered(self.model, self.blocks)
            self._check_classes(open_pass, outputs)
        if cut is not None and open_pass.schedule is joint:
            check_reached(self.model, self.blocks, output, reached, cut)
        check_spreading(self.model, self.taught, joint)
        # Within `torch.func.functional_call` other tensors temporarily replace the parameters.
        own = (p for p in self.model.parameters() if isinstance(p, nn.Parameter))
        self._resting = [p for p in own if not p.requires_grad]
        self._checked = True


def _handed_on(outputs: Any, leaked: Sequence[Tensor]) -> Any:
    """Return the outputs, with a node that refuses a gradient at each leaked block output."""
    token = torch.zeros((), requires_grad=True)
    swaps = {id(t): HandedOn.apply(t, token) for t in leaked}
    return replaced(outputs, lambda tensor: swaps.get(id(tensor), tensor))


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
