"""One training step, as the measures of cost time it and weigh it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer

from beyondprop.engine.attach import attach
from beyondprop.rules import Rule
from beyondprop.slots import driven

Step = Callable[[], None]
"""Does one whole training step: gradients cleared, forward, loss, backward, weights updated."""


@dataclass(frozen=True)
class Case:
    """Something to be measured beside others.

    Attributes:
        name: What it is called in the results.
        build: Builds a fresh model and returns its step, for example
            ``functools.partial(rule_step, ...)``.
    """

    name: str
    build: Callable[[], Step]


def rule_step(
    model: Callable[[], nn.Module],
    rule: Rule | None,
    inputs: Tensor,
    targets: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    optimizer: Callable[[Iterable[Parameter], float], Optimizer],
    learning_rate: float,
    blocks: Sequence[str] | None = None,
) -> Step:
    """Build a model, attach a rule to it, and return one step of the ordinary training loop.

    Args:
        model: Builds the model from PyTorch's global generator.
        rule: What to attach; None for plain PyTorch with nothing attached.
        inputs: One batch, on the device to compute on.
        targets: Its targets, on the same device.
        loss: (outputs, targets) to a scalar.
        optimizer: (parameters, learning rate) to an optimizer.
        learning_rate: For the optimizer.
        blocks: Names or patterns of the blocks, see `attach`.
    """
    network = model().to(inputs.device).train()
    handle = None if rule is None else attach(network, rule, blocks)
    learned = [] if handle is None else handle.parameters()
    update = driven(optimizer([*network.parameters(), *learned], learning_rate), network)

    def plain() -> None:
        update.zero_grad()
        loss(network(inputs), targets).backward()
        update.step()

    if handle is None:
        return plain

    def taught() -> None:
        update.zero_grad()
        with handle.targets(targets):
            value = loss(network(inputs), targets)
        value.backward()
        update.step()

    return taught
