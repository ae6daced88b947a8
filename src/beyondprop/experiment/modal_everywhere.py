"""Single modalities that answer for all samples, so that all methods use the same samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from beyondprop._torch.calling import call
from beyondprop._torch.pytrees import leaves
from beyondprop.errors import UserError
from beyondprop.experiment.modal_setting import Held, ModalSetting
from beyondprop.modalities.alone import taken
from beyondprop.modalities.network import PRESENT
from beyondprop.tasks import Samples


class Everywhere(nn.Module):
    """A modality's network with a constant answer for samples that lack the modality.

    Args:
        network: The modality's network.
        name: Name of the modality.
        place: Index of the modality.
        answer: Output for a sample that lacks the modality; None if no sample does.
    """

    answer: Tensor | None

    def __init__(self, network: nn.Module, name: str, place: int, answer: Tensor | None) -> None:
        super().__init__()
        self.network, self.name, self.place = network, name, place
        self.register_buffer("answer", answer, persistent=False)

    def forward(self, present: Tensor | None = None, **inputs: Any) -> Any:
        """Return the network's outputs, with the constant answer for samples without its input."""
        own = inputs[self.name]
        rows = None if present is None else present[:, self.place].bool()
        if rows is None or self.answer is None or bool(rows.all()):
            return call(self.network, own)
        found = self.answer.expand(len(rows), *self.answer.shape).clone()  # (batch, ...)
        if bool(rows.any()):
            found[rows] = call(self.network, taken(own, rows)).to(found)
        return found


def everywhere(setting: ModalSetting, modality: str, network: nn.Module) -> Everywhere:
    """Return a modality's network that answers for all samples.

    Raises:
        UserError: Samples lack modalities, and the targets allow no constant answer.
    """
    place = setting.network().modalities.index(modality)
    parts = (setting.data.validation, setting.data.test)
    answer = constant(setting) if any(map(gaps, parts)) else None
    return Everywhere(network, modality, place, answer).eval()


def gaps(samples: Samples) -> bool:
    """Whether samples state which modalities they have."""
    return PRESENT in samples.batch(torch.arange(1))[0]


def constant(setting: ModalSetting) -> Tensor:
    """Return the best constant answer, computed from the training targets.

    For classes it is the logarithm of each class's relative frequency, so that the most frequent
    class is predicted; for labels, the logits of their base rates; for numbers, the means. A class
    or label that never occurs counts as half a sample, which avoids the logarithm of 0.

    Returns:
        A tensor in the shape of one sample's output: ``(outputs,)`` or a scalar.

    Raises:
        UserError: The targets are not classes, labels or numbers.
    """
    found = [each for _, each in Held(setting.data.train, setting.validation.size)]
    form = setting.outputs.shape[1:]
    targets = torch.cat(found) if all(isinstance(each, Tensor) for each in found) else None
    if targets is not None:
        count, least = len(targets), 0.5 / len(targets)
        row = targets.double().mean(0)  # (outputs,), or a scalar
        if targets.is_floating_point() and row.numel() == form.numel():
            return row.view(form).to(setting.outputs)
        if targets.dtype == torch.bool and row.numel() == form.numel():
            return row.clamp(least, 1 - least).logit().view(form).to(setting.outputs)
        if targets.numel() == count and len(form) == 1 and int(targets.min()) >= 0:
            counts = torch.bincount(targets.flatten(), minlength=form[0]).double()  # (classes,)
            if len(counts) == form[0]:
                return (counts.clamp(min=0.5) / count).log().to(setting.outputs)
    raise UserError(
        f"samples of {setting.task.name} lack modalities, and a single modality's answer for these "
        "can't be derived from its targets: they must be classes, labels or numbers in the form of "
        "the network's outputs"
    )


def present_rows(samples: Samples, place: int) -> Tensor | None:
    """Return which samples have a modality, ``(n,)`` bool; None if the samples do not state it."""
    if not gaps(samples):
        return None
    held = Held(samples, 1000)
    return torch.cat([next(leaves(inputs[PRESENT]))[:, place].bool() for inputs, _ in held])
