"""Rules that teach a model as a whole: they run its forward pass themselves, without a graph."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from beyondprop._torch.eager import eager
from beyondprop._torch.pytrees import leaves, replaced
from beyondprop.engine.functions import Whole
from beyondprop.errors import UserError
from beyondprop.rules.base import ProjectedRule

if TYPE_CHECKING:
    from beyondprop.engine.attachment import Attachment
    from beyondprop.engine.blocks import Block


@dataclass(frozen=True, eq=False)
class Call:
    """A forward pass to be taught.

    Attributes:
        model: The model.
        parameters: All its parameters by name, those that do not learn too.
        inputs: What it is called with.
        keywords: What it is called with by name.
        number: How many taught passes in training mode there were, this one included.
        plain: The model's own forward pass.
    """

    model: nn.Module
    parameters: Mapping[str, Tensor]
    inputs: tuple[Any, ...]
    keywords: dict[str, Any]
    number: int
    plain: Callable[..., Any]

    def run(self, others: Mapping[str, Tensor]) -> Any:
        """Run the model's own forward pass with other tensors in place of some parameters."""
        named = {f"model.{name}": tensor for name, tensor in others.items()}
        return functional_call(Plain(self.model, self.plain), named, self.inputs, self.keywords)


class Plain(nn.Module):
    """The model's own forward pass as a module, so that its hooks are not called a second time."""

    def __init__(self, model: nn.Module, plain: Callable[..., Any]) -> None:
        super().__init__()
        self.model, self.plain = model, plain

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        """Run it."""
        return self.plain(*inputs, **keywords)


class Teacher(Protocol):
    """What one forward pass leaves behind, to teach by when the error at the outputs is known."""

    def gradients(
        self, errors: Sequence[Tensor | None], saved: Sequence[Tensor], needed: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        """Return a gradient, or None, for each saved tensor.

        Args:
            errors: Gradients of the loss with respect to the taught outputs; None where unused.
            saved: The model's parameters, and behind them what the rule asked to keep.
            needed: Which of these need a gradient.
        """


@dataclass(frozen=True, eq=False)
class Ran:
    """What became of a forward pass.

    Attributes:
        outputs: What the model returns, without a graph.
        taught: The tensors in it at which an error may arrive.
        kept: Tensors to keep for the teacher.
        teacher: What turns errors into gradients.
    """

    outputs: Any
    taught: Sequence[Tensor]
    kept: Sequence[Tensor]
    teacher: Teacher


@dataclass(frozen=True)
class WholeRule(ProjectedRule):
    """A rule that teaches the model as a whole; blocks are but rows of the report."""

    whole: ClassVar[bool] = True
    change: ClassVar[str]
    """What is changed, for the report."""

    @abstractmethod
    def run(self, call: Call) -> Ran:
        """Run a forward pass; gradients are switched off."""

    def install(self, block: "Block", attachment: "Attachment") -> str:  # noqa: ARG002
        """Run the model's forward pass from now on."""
        own = vars(attachment.model).get("forward")
        if not isinstance(own, WholePass):
            attachment.take_over(WholePass(self, attachment, own))
        return self.change


@dataclass(eq=False)
class WholePass:
    """What stands in for the model's `forward` while such a rule is attached.

    Attributes:
        rule: The rule.
        attachment: Where it was attached.
        own: The `forward` that the model had on the instance, if it had one.
        state: Nothing: what is counted from pass to pass is in the attachment's memory.
    """

    rule: WholeRule
    attachment: "Attachment"
    own: Any = None
    state: dict[str, Tensor] = field(default_factory=dict)

    def owners(self) -> Sequence[Tensor]:
        """Return nothing: no feedback learns here."""
        return ()

    def remove(self) -> None:
        """Give the model its own `forward` back."""
        inside = vars(self.attachment.model)
        if inside.get("forward") is self:
            del inside["forward"]
            inside.update({} if self.own is None else {"forward": self.own})

    # Compiled, dual numbers and second passes would have to be traced; the model runs as it is.
    @eager
    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """Run the model, taught if it is to be.

        Raises:
            UserError: An input asks for a gradient, which such a rule does not have.
        """
        model = self.attachment.model
        parameters = dict(model.named_parameters())
        learns = any(p.requires_grad for p in parameters.values())
        if self.attachment.exact or not torch.is_grad_enabled() or not learns:
            return self.plain(*inputs, **keywords)
        called = type(self.rule).__name__
        if any(tensor.requires_grad for tensor in leaves((inputs, keywords))):
            raise UserError(
                f"{called} has no gradient for the model's input, and an input asks for one: "
                "detach it, or use exact_gradients(model) where the true one is meant"
            )
        number = self.attachment.memory.passes
        with torch.no_grad():
            ran = self.rule.run(Call(model, parameters, inputs, keywords, number, self.plain))
        taught = list({id(tensor): tensor for tensor in ran.taught}.values())
        if not taught:
            return ran.outputs
        tied = Whole.apply(ran.teacher, len(taught), *taught, *parameters.values(), *ran.kept)
        swaps = {id(old): new for old, new in zip(taught, tied, strict=True)}
        return replaced(ran.outputs, lambda tensor: swaps.get(id(tensor), tensor))

    def plain(self, *inputs: Any, **keywords: Any) -> Any:
        """Run the model's own forward pass."""
        if self.own is not None:
            return self.own(*inputs, **keywords)
        model = self.attachment.model
        return type(model).forward(model, *inputs, **keywords)
