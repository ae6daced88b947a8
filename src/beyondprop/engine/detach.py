"""How a teaching signal enters the graph of an ordinary forward pass.

Every taught block's output is *tapped*: the graph behind it ends there, and the model goes on with
a detached tensor, so no error product between blocks is ever computed. `Output` stands at the end
of the model; its backward hands the output error to the lesson, which all taps of that forward pass
share.

A large block's signal is made in a node of its own, a `Tap`. The engine runs nodes latest first:
it makes block k's signal, goes back through block k, frees both, and only then turns to block
k - 1, so no two signals need be alive at once. For a small block such a node would cost more time
than it saves memory, so `Output` makes that signal itself.
"""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from beyondprop._torch.pytrees import leaves, replaced
from beyondprop.engine.functions import LossTap, ReadTap, Tap
from beyondprop.errors import UserError
from beyondprop.shapes import rows_and_features

SMALL = 2**16
"""Numbers in a block's output up to which a node of its own costs more than it saves."""

ROOM = 2**20
"""Numbers that the small blocks' outputs of a forward pass may have together: 4 MiB in float32."""


Like = tuple[torch.Size, torch.dtype, torch.device]
"""Shape, dtype and device of a block's output, and so of its signal."""


class Lesson:
    """What one forward pass and its backward passes share.

    Attributes:
        targets: What the caller gave `Attachment.targets`, or None.
        training: Whether the model was in training mode.
        inputs: What the model was called with: its first tensor, or None.
        schedule: What lets blocks learn within the forward pass, or None.
        streams: What a rule sends through the blocks beside the model's own batch, by rule.
        classes: How many outputs the model has, where that can be seen before it has run.
        errors: Gradient of the loss with respect to each taught output of the model; known once
            the backward pass has begun. None in place of an output that the loss does not use.
        taps: What ties each tap to the output: a large block's token, a small block's own output.
        cuts: The cut of each tap.
        room: How many numbers more the small blocks' outputs may have.
        small: For each tap of a small block its cut and what its signal must be like; None for
            each of a large one.
        read: Outputs of blocks whose teachers read them, until the model's outputs are known.
        handed: The detached tensors that the model went on with, while they live.
    """

    __slots__ = (
        "_sender",
        "_sent",
        "_turns",
        "classes",
        "cuts",
        "errors",
        "handed",
        "inputs",
        "read",
        "room",
        "schedule",
        "small",
        "streams",
        "taps",
        "targets",
        "training",
    )

    def __init__(
        self,
        targets: Tensor | None = None,
        training: bool = True,
        schedule: "Schedule | None" = None,
    ) -> None:
        self.targets = targets
        self.training = training
        self.schedule = schedule
        self.inputs: Tensor | None = None
        self.classes: int | None = None
        self.streams: dict[int, Tensor] = {}
        self.errors: Sequence[Tensor | None] = ()
        self.taps: list[Tensor] = []
        self.cuts: list[Cut] = []
        self.room = ROOM
        self.small: list[tuple[Cut, Like] | None] = []
        self.read: list[tuple[Tensor, Cut]] = []
        self.handed: list[weakref.ref[Tensor]] = []
        self._turns: dict[nn.Module, int] = {}
        self._sender: Sender | None = None
        self._sent: Sequence[Tensor | None] = ()

    def begin(self, errors: Sequence[Tensor | None]) -> None:
        """Take the errors of a backward pass that begins."""
        self.errors, self._sender = errors, None

    def messages(self, sender: "Sender") -> Sequence[Tensor | None]:
        """Return what a rule sends to all blocks in this backward pass, asking it once."""
        if self._sender is not sender:
            self._sender, self._sent = sender, sender.messages(self)
        return self._sent

    def turn(self, module: nn.Module) -> int:
        """Count the calls of a module in this forward pass; the first is 0."""
        turn = self._turns.get(module, 0)
        self._turns[module] = turn + 1
        return turn

    def tap(self, outputs: Any, cut: "Cut") -> Any:
        """Return a block's outputs, each tensor detached and tied to what teaches it."""
        if cut.learner is not None:
            self._learn(outputs, cut.learner, cut)
        elif cut.teacher is not None and self.schedule is not None:
            self._signal(outputs, cut, self.schedule)
        if isinstance(outputs, Tensor):
            return self._tap(outputs, cut)
        return replaced(outputs, lambda tensor: self._tap(tensor, cut))

    def _learn(self, outputs: Any, learner: "Learner", cut: "Cut") -> None:
        """Have a block learn by a loss of its own."""
        output = _judged(outputs)
        loss = None if output is None else learner.loss(self, output)
        if loss is None or not loss.requires_grad:
            return
        if self.schedule is not None:
            self.schedule.learn([loss], [None], cut)
            return
        self.cuts.append(cut)
        self.taps.append(LossTap.apply(loss))
        self.small.append(None)

    def _signal(self, outputs: Any, cut: "Cut", schedule: "Schedule") -> None:
        """Have a block learn by its teacher's signals at once, all its outputs together."""
        roots = [output for output in leaves(outputs) if output.requires_grad]
        if not roots:
            return
        self.errors = (self.error_like(roots[0]),)
        signals = [cut.signal(self, (t.shape, t.dtype, t.device)) for t in roots]
        schedule.learn(roots, signals, cut)

    def open_reads(self, outputs: Sequence[Tensor]) -> None:
        """Tie the outputs that are read to what teaches them, now that the error's shape is known.

        Raises:
            UserError: The model has several outputs.
        """
        if not self.read:
            return
        if len(outputs) != 1:
            called = type(self.read[0][1].teacher).__name__
            raise UserError(f"{called} teaches by one output only; the model has {len(outputs)}")
        for output, cut in self.read:
            assert cut.reader is not None
            _, features, width = rows_and_features(outputs[0].shape, output.shape)
            learned = cut.reader.open(cut, features, width, output.detach())
            self.taps.append(ReadTap.apply(output, learned, self, cut))
            self.cuts.append(cut)
            self.small.append(None)
        self.read = []

    def handed_on(self, tensor: Tensor) -> bool:
        """Whether this is the detached output of a block."""
        return any(ref() is tensor for ref in self.handed)

    def error_like(self, output: Tensor) -> Tensor:
        """Return zeros shaped as class targets say that the error at the output will be.

        Raises:
            UserError: How many classes there are cannot be seen.
        """
        targets = self.targets
        assert targets is not None
        if targets.is_floating_point():
            return output.new_zeros(targets.shape)
        if self.classes is None:
            raise UserError(
                "how many classes the model has cannot be seen before it has run, as its last "
                "layer is not linear: leave the schedule out, or give the targets one-hot, as "
                "floats"
            )
        return output.new_zeros((*targets.shape, self.classes))

    def _tap(self, output: Tensor, cut: "Cut") -> Tensor:
        if not output.requires_grad:
            return output
        if cut.reader is not None:
            self.read.append((output, cut))
        elif cut.teacher is not None and self.schedule is None:
            like = output.shape, output.dtype, output.device
            small = output.numel() <= min(SMALL, self.room)
            self.room -= output.numel() if small else 0
            self.cuts.append(cut)
            self.taps.append(output if small else Tap.apply(output, self, cut, like))
            self.small.append((cut, like) if small else None)
        handed = output.detach()
        if cut.reader is not None or (cut.learner is not None and self.schedule is None):
            handed = handed.clone()  # the model may work in place on what it is handed
        self.handed.append(weakref.ref(handed))
        return handed


def _judged(outputs: Any) -> Tensor | None:
    """Return what a loss of a block's own is made of: its output, or several side by side."""
    found = [t for t in leaves(outputs) if t.is_floating_point()]
    first = found[0] if found else None
    if first is None or any(t.dim() < 2 or len(t) != len(first) for t in found[1:]):
        return first
    if len(found) == 1:
        return first
    return torch.cat([t.flatten(1) for t in found], dim=1)


class Sender(Protocol):
    """Sends the same messages to every block."""

    def messages(self, lesson: Lesson) -> Sequence[Tensor | None]:
        """Return one message for each of the model's outputs, None where nothing is sent."""


class Teacher(Protocol):
    """Gives a block its signal in place of the gradient that backprop would bring."""

    def signal(self, lesson: Lesson, shape: torch.Size, stream: int) -> Tensor:
        """Return the signal at a block's output of this shape."""


class Reader(Protocol):
    """Gives a block a signal that depends on the block's output, by feedback of its own."""

    def open(self, cut: "Cut", features: int, width: int, output: Tensor) -> Tensor | None:
        """Make the feedback from an error of ``features`` to a block's ``width``.

        Returns:
            The feedback, if it learns by a gradient.
        """

    def read(self, lesson: Lesson, cut: "Cut", output: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the signal, and the gradient of the feedback if it learns by one."""


class Learner(Protocol):
    """Teaches a block by a loss of its own."""

    def loss(self, lesson: Lesson, output: Tensor) -> Tensor:
        """Return the loss, a scalar whose graph leads into this block and what stands on it."""


class Schedule(Protocol):
    """Lets each block learn as soon as it has run."""

    def learn(
        self, roots: Sequence[Tensor], gradients: Sequence[Tensor | None], cut: "Cut"
    ) -> None:
        """Go back from a loss, or from outputs with their signals, and take a step."""


@dataclass(eq=False)
class Cut:
    """The end of a block's graph.

    Attributes:
        teacher: What gives the signal there; None leaves the block untaught.
        stream: The block's own random stream.
        reader: The teacher, where it reads the block's output.
        state: What it keeps for this block from pass to pass.
        beside: The parameters of the block, which learn beside learned feedback.
        learner: What gives the block a loss of its own, in place of a teacher's signal.
    """

    teacher: Teacher | None
    stream: int
    reader: Reader | None = None
    state: dict[str, Tensor] = field(default_factory=dict)
    beside: Sequence[nn.Parameter] = ()
    learner: Learner | None = None

    @property
    def key(self) -> tuple[int, int]:
        """What blocks with the same signal, but for its width, have in common."""
        return id(self.teacher), self.stream

    def owners(self) -> Sequence[nn.Parameter]:
        """Return the parameters that learn beside the feedback."""
        return self.beside

    def signal(self, lesson: Lesson, like: Like) -> Tensor:
        """Return the signal as the gradient of the block's output."""
        assert self.teacher is not None
        shape, dtype, device = like
        return self.teacher.signal(lesson, shape, self.stream).to(device, dtype)
