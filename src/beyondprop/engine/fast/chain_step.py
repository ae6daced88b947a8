"""A complete training step of a small chain, without autograd."""

import torch
from torch import Tensor

from beyondprop._torch.processes import processes
from beyondprop.core import ForwardPass
from beyondprop.engine.attachment import Attachment
from beyondprop.engine.fast.chain import Fused
from beyondprop.engine.fast.fused import deltas, hidden_states
from beyondprop.errors import UserError
from beyondprop.slots import machine_of


class ChainStep:
    """One training step of a small chain of linear layers: forward, loss, the rule, plain SGD.

    In networks of a few hundred units most of a step is the overhead of autograd, the loss and the
    optimizer. This class computes the same step without it, with the signals of the attached rule
    and the same values as the ordinary loop with `torch.optim.SGD` and `F.cross_entropy`.

    Restrictions: the loss is cross-entropy, the update is SGD without momentum, ``.grad`` is never
    set, and the model is an `nn.Sequential` of linear layers with ReLU, tanh or sigmoid between
    them. For anything else use the ordinary loop.

    Args:
        handle: The handle that `attach` returned, for a rule that ends the graph of each block and
            learns no feedback.
        learning_rate: Learning rate; an attribute that you can change during training.

    Raises:
        UserError: The model or the rule is not supported.
    """

    def __init__(self, handle: Attachment, learning_rate: float) -> None:
        if machine_of(handle.model) is not None:
            raise UserError(
                "ChainStep updates weights directly, which would move chosen ones off their fixed "
                "values: use the ordinary loop with slots.drive()"
            )
        fused: Fused | None = vars(handle.model).get("_fused")
        if fused is None:
            raise UserError(
                "ChainStep takes an nn.Sequential of linear layers with ReLU, tanh or sigmoid "
                "between them, under DirectFeedbackAlignment, DirectRandomTargetProjection or "
                "Frozen: use the ordinary loop"
            )
        self.handle = handle
        self.learning_rate = learning_rate
        self._fused = fused

    @torch.no_grad()
    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Take a step on one batch.

        Args:
            inputs: ``(batch, features)``.
            targets: Classes, ``(batch,)`` int64; negative numbers, which losses ignore, are not
                supported.

        Returns:
            The mean loss before the step, a scalar.

        Raises:
            UserError: The batch does not fit, the rule was removed, a layer was replaced or has
                hooks, or there are several processes.
        """
        model = self.handle.model
        attached = vars(model).get("_fused") is self._fused and not self.handle.exact
        if not attached or tuple(model.children()) != vars(model)["_children"]:
            raise UserError(
                "ChainStep uses the attached rules, but these were removed or disabled by "
                "exact_gradients, or the chain has changed: attach again, and build a new ChainStep"
            )
        if processes() > 1:
            raise UserError(
                "ChainStep does not average over several processes: use the ordinary loop"
            )
        parameters = self._fused.parameters(inputs)
        if parameters is None:
            raise UserError(
                f"ChainStep cannot take a batch of shape {tuple(inputs.shape)} ({inputs.dtype}) "
                "here: it must fit the first layer and be small, no layer may have hooks or "
                "another class, and autocast must be off"
            )
        states = hidden_states(inputs, self._fused.hidden, parameters)
        outputs = torch.nn.functional.linear(states[-1], *parameters[-2:])
        loss, error = cross_entropy(outputs, targets)
        run = ForwardPass(
            inputs, targets, model.training, classes=outputs.shape[1], errors=(error,)
        )
        learns = [_learns(w) or _learns(b) for w, b in zip(*[iter(parameters)] * 2, strict=True)]
        found = deltas(run, self._fused.hidden, states, learns)
        for i, delta in enumerate([*found, error]):
            if delta is not None:
                self._update(parameters[2 * i], parameters[2 * i + 1], delta, states[i])
        return loss

    def _update(self, weight: Tensor, bias: Tensor | None, delta: Tensor, before: Tensor) -> None:
        """Update a layer; the product and the update of the weight are one call."""
        if _learns(weight):
            weight.addmm_(delta.t(), before, alpha=-self.learning_rate)
        if bias is not None and _learns(bias):
            bias.add_(delta.sum(0), alpha=-self.learning_rate)


def _learns(parameter: Tensor | None) -> bool:
    return parameter is not None and parameter.requires_grad


def cross_entropy(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean cross-entropy and its gradient with respect to the outputs."""
    logarithms = outputs.log_softmax(1)
    picked = targets.unsqueeze(1)
    loss = logarithms.gather(1, picked).mean().neg_()
    error = logarithms.exp_()
    error.scatter_add_(1, picked, error.new_full((), -1.0).expand_as(picked))
    return loss, error.div_(len(error))
