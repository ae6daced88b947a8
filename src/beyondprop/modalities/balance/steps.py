"""Parts that the steps of all methods share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

from torch import Tensor, nn

from beyondprop._torch.calling import call
from beyondprop._torch.pytrees import replaced
from beyondprop.engine.attach import attachment_of
from beyondprop.errors import UserError
from beyondprop.modalities.network import MultimodalNetwork


@dataclass(frozen=True)
class Pass:
    """A forward pass of a network.

    Attributes:
        outputs: The head's outputs.
        hidden: The encoders' features, ``(batch, features)``, of each modality that is given.
        present: Which modalities each sample has, ``(batch, modalities)`` bool, without those that
            the network's dropout removed.
    """

    outputs: Any
    hidden: Mapping[str, Tensor]
    present: Tensor

    def having(self, network: MultimodalNetwork) -> dict[str, Tensor]:
        """Return which samples have each modality, ``(batch,)`` bool, if at least one has it."""
        columns = zip(network.modalities, self.present.unbind(1), strict=True)
        return {name: rows for name, rows in columns if name in self.hidden and bool(rows.any())}


def called(network: MultimodalNetwork, inputs: Mapping[str, Any], targets: Any) -> Any:
    """Return a network's outputs; a rule attached to it receives the targets if it needs them.

    This calls the complete network, because an attached rule observes only such calls.
    """
    attachment = attachment_of(network)
    if attachment is None or not attachment.needs_targets:
        return call(network, inputs)
    with attachment.targets(targets):
        return call(network, inputs)


def run(network: MultimodalNetwork, inputs: Mapping[str, Any], targets: Any) -> Pass:
    """Return a forward pass of a network with its features, without running an encoder twice.

    Raises:
        UserError: The network's fusion is not called as a module, such as in a compiled network.
    """
    taken: list[tuple[Any, ...]] = []
    hook = network.fusion.register_forward_pre_hook(lambda _, given: taken.append(given))
    try:
        outputs = called(network, inputs, targets)
    finally:
        hook.remove()
    if not taken:
        raise UserError(
            "the network's fusion was not called as a module, so the features of its modalities "
            "cannot be read: train a network that is not compiled"
        )
    hidden, present = taken[0]  # some rules run the network again, with other weights or inputs
    return Pass(outputs, hidden, present)


def joint_loss(
    network: MultimodalNetwork, loss: Callable[[Any, Any], Tensor], outputs: Any, targets: Any
) -> Tensor:
    """Return the loss of outputs, passed to `Attachment.loss` so that rules follow its scale."""
    attachment = attachment_of(network)
    found = loss(outputs, targets)
    return found if attachment is None else attachment.loss(found)


def rows_of(value: Any, rows: Tensor) -> Any:
    """Return some rows of each tensor in a value.

    Args:
        value: A tensor, or a container of tensors.
        rows: The rows to return, ``(batch,)`` bool.
    """
    return value if bool(rows.all()) else replaced(value, lambda tensor: tensor[rows])


def check_heads(network: MultimodalNetwork, heads: nn.ModuleDict) -> None:
    """Raise unless each modality has a head.

    Raises:
        UserError: A modality has no head.
    """
    if missing := [name for name in network.modalities if name not in heads]:
        raise UserError(f"there is no head for '{missing[0]}': give one for each modality")


def check_reached(network: MultimodalNetwork, method: str) -> None:
    """Raise unless losses of single modalities reach the encoders as the network's own loss does.

    Raises:
        UserError: A rule that is attached to the network ends its graph or runs the network itself.
    """
    attachment = attachment_of(network)
    if attachment is None or attachment.exact:
        return
    for block in attachment.blocks:
        traits = block.rule.traits
        if traits.ends_graph or traits.whole_model:
            raise UserError(
                f"{method} adds losses of single modalities, which {type(block.rule).__name__} "
                "does not carry to the encoders: train with Joint or GradientModulation, or with a "
                "rule that keeps the graph, such as backprop or feedback alignment"
            )


def losses_alone(
    network: MultimodalNetwork,
    heads: nn.ModuleDict,
    loss: Callable[[Any, Any], Tensor],
    ran: Pass,
    targets: Any,
) -> dict[str, Tensor]:
    """Return the loss of each modality alone, a mean over the samples that have it.

    Args:
        network: The network.
        heads: Map a modality's vector to outputs.
        loss: Maps (outputs, targets) to a scalar.
        ran: The network's forward pass, whose features are reused.
        targets: The targets of all samples.

    Returns:
        The loss of each modality in `heads` that any sample has.
    """
    found = {}
    for name, rows in ran.having(network).items():
        if name in heads:
            vector = network.fusion.project[name](rows_of(ran.hidden[name], rows))  # (rows, width)
            found[name] = loss(heads[name](vector), rows_of(targets, rows))
    return found


def own_parameters(network: MultimodalNetwork) -> dict[str, list[nn.Parameter]]:
    """Return the parameters of each modality's encoder and projection.

    Raises:
        UserError: Parameters are shared, so they cannot be separated by modality.
    """
    found = {
        name: [*encoder.parameters(), *network.fusion.project[name].parameters()]
        for name, encoder in network.encoders.items()
    }
    rest = [p for name, p in network.fusion.named_parameters() if not name.startswith("project.")]
    owners: dict[int, str] = {id(each): "" for each in [*rest, *network.head.parameters()]}
    for name, parameters in found.items():
        for each in parameters:
            if owners.setdefault(id(each), name) != name:
                other = owners[id(each)] or "the fusion or the head"
                raise UserError(
                    f"'{name}' shares parameters with {other}, so their gradients cannot be "
                    "separated by modality: give each modality its own encoder"
                )
    return found


@contextmanager
def gradients_apart(groups: Iterable[Iterable[nn.Parameter]]) -> Iterator[None]:
    """Start with empty gradients; add the earlier ones to the result on exit."""
    before = [(each, each.grad) for each in chain.from_iterable(groups)]
    for each, _ in before:
        each.grad = None
    try:
        yield
    finally:
        for each, old in before:
            if old is not None:
                each.grad = old if each.grad is None else old.add_(each.grad)
