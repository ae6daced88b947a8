"""What is measured of a network of several modalities, on the test data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop import tasks
from beyondprop._torch.pytrees import replaced
from beyondprop.errors import UserError
from beyondprop.experiment.assess import score
from beyondprop.experiment.modal_alone import outputs_of
from beyondprop.experiment.modal_everywhere import gaps
from beyondprop.experiment.modal_scores import named_scores
from beyondprop.experiment.modal_setting import Held, ModalSetting
from beyondprop.modalities import MultimodalNetwork, SubNetwork
from beyondprop.modalities.network import PRESENT, filled
from beyondprop.tasks import Samples, Split
from beyondprop.tasks.multimodal import informative

MOST = 4
"""Modalities up to which every subset of them is tried; above, each alone and all but each."""
SHOWN = 12
"""Test samples of which a record keeps each modality's weight."""


class LateFusion(nn.Module):
    """The mean of what single modalities say of a sample: of probabilities, or of numbers.

    Args:
        networks: Sub-networks with heads of their own, by modality.
        targets: Some of those that they learned: classes are int64, labels bool, values float.
    """

    def __init__(self, networks: Mapping[str, SubNetwork], targets: Tensor) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(networks)
        self.labels, self.values = targets.dtype == torch.bool, targets.is_floating_point()

    def forward(self, present: Tensor | None = None, **inputs: Any) -> Tensor:
        """Return log probabilities ``(batch, classes)``, logits of labels, or numbers.

        What a sample lacks may be anything: the network reads that of another sample in its place.

        Raises:
            UserError: A sample has no modality at all.
        """
        found, seen = [], []
        for place, (name, network) in enumerate(self.networks.items()):
            own = inputs.get(name)
            rows = None if present is None else present[:, place].bool()
            if own is None or (rows is not None and not bool(rows.any())):
                continue
            found.append(tasks.call(network, own if rows is None else filled(own, rows)))
            every = torch.ones(len(found[-1]), dtype=torch.bool, device=found[-1].device)
            seen.append(every if rows is None else rows)
        mask = torch.stack(seen) if seen else torch.zeros(1, 1, dtype=torch.bool)
        if not bool(mask.any(0).all()):  # (modalities, batch)
            raise UserError("a sample has no modality: leave it out")
        outputs = torch.stack(found)  # (modalities, batch, ...)
        rows = mask if outputs.dim() == 2 else mask[..., None]
        if self.values or self.labels:
            said = outputs.sigmoid() if self.labels else outputs
            mean = torch.where(rows, said, 0).sum(0) / rows.sum(0)
            return mean.logit() if self.labels else mean
        logs = outputs.log_softmax(-1).masked_fill(~rows, -torch.inf)
        return logs.logsumexp(0) - rows.sum(0).log()


def measured(
    setting: ModalSetting, network: nn.Module, alone: Mapping[str, SubNetwork]
) -> dict[str, Any]:
    """Return scores of parts of the modalities, of noise in one of them, and whom it trusts.

    Args:
        setting: Of its seed.
        network: That is trained, in eval mode.
        alone: Each modality's sub-network, which says whether that modality alone is right.
    """
    return {
        "named": named_scores(*predictions(setting, network)),
        "missing": dict(with_parts(setting, network, tuple(alone))),
        "noise": dict(with_noise(setting, network, tuple(alone))),
        "trust": trusted(setting, network, alone),
    }


@torch.no_grad()
def predictions(setting: ModalSetting, network: nn.Module) -> tuple[Tensor, Tensor]:
    """Return a network's outputs of the test samples, and the targets."""
    held = Held(setting.data.test, setting.validation.size)
    pairs = [(tasks.call(network, inputs), targets) for inputs, targets in held]
    outputs, targets = (torch.cat(each) for each in zip(*pairs, strict=True))
    return outputs, targets


def with_parts(
    setting: ModalSetting, network: nn.Module, names: tuple[str, ...]
) -> Iterator[tuple[str, float | None]]:
    """Yield the score where some modalities alone are given, by their names joined by +.

    It is of the samples that have one of these; None where none has.
    """
    sizes = range(1, len(names)) if len(names) <= MOST else (1, len(names) - 1)
    for size in dict.fromkeys(sizes):
        for given in combinations(names, size):
            part = part_of(setting, names, given)
            found = None if part is None else score(setting.task, network, part).score
            yield "+".join(given), found


def part_of(
    setting: ModalSetting, names: tuple[str, ...], given: tuple[str, ...]
) -> Samples | None:
    """Return the test samples that have one of some modalities, with these alone, None if none."""
    inputs, targets = setting.data.test.batch(slice(0, len(setting.data.test)))
    own = {name: inputs[name] for name in given}
    if PRESENT not in inputs:
        return Split(own, targets)
    places = [names.index(name) for name in given]
    seen = inputs[PRESENT].bool().clone()
    seen[:, [place for place in range(len(names)) if place not in places]] = False
    rows = seen.any(1)
    if not bool(rows.any()):
        return None
    return replaced_rows(own | {PRESENT: seen}, targets, rows)


def replaced_rows(inputs: Mapping[str, Any], targets: Any, rows: Tensor) -> Split:
    """Return some rows of inputs and targets."""
    return Split(*(replaced(each, lambda x: x[rows]) for each in (dict(inputs), targets)))


def with_noise(
    setting: ModalSetting, network: nn.Module, names: tuple[str, ...]
) -> Iterator[tuple[str, float | None]]:
    """Yield the score where one modality says nothing, by its name; None where no sample has it.

    Real numbers are drawn with the mean and the deviation that each has over the samples that have
    the modality; whole ones are those of another such sample.
    """
    inputs, targets = setting.data.test.batch(slice(0, len(setting.data.test)))
    for place, name in enumerate(names):
        generator = torch.Generator().manual_seed(setting.seed)
        seen = inputs[PRESENT][:, place].bool() if PRESENT in inputs else None
        every = torch.arange(len(targets)) if seen is None else seen.nonzero().flatten()
        if not len(every):
            yield name, None
            continue
        rows = every[torch.randint(len(every), (len(targets),), generator=generator)]

        def spoiled(
            x: Tensor,
            rows: Tensor = rows,
            known: Tensor = every,
            drawn: torch.Generator = generator,
        ) -> Tensor:
            if not x.is_floating_point():
                return x[rows]
            mean, deviation = x[known].mean(0), x[known].std(0, correction=0)
            return mean + deviation * torch.randn(x.shape, generator=drawn).to(x)

        changed = dict(inputs) | {name: replaced(inputs[name], spoiled)}
        yield name, score(setting.task, network, Split(changed, targets)).score


@torch.no_grad()
def trusted(
    setting: ModalSetting, network: nn.Module, alone: Mapping[str, SubNetwork]
) -> dict[str, Any] | None:
    """Return the weights that a network gives modalities; None where it has no such weights.

    Where it is known which modalities of a sample say something, also the weight on these in
    samples in which one does not, beside their share among all.
    Of classes also how often the modality with the largest weight is right by itself, beside the
    mean of all modalities, which chance would reach, and how often any of them is right.
    """
    if not isinstance(network, MultimodalNetwork):
        return None
    held = Held(setting.data.test, setting.validation.size)
    try:
        weights = torch.cat([network.trust(**inputs) for inputs, _ in held])
    except UserError:
        return None
    names = network.modalities
    made: dict[str, Any] = {
        "mean": dict(zip(names, weights.mean(0).tolist(), strict=True)),
        "samples": weights[:SHOWN].tolist(),
    }
    said = informative(setting.data.test)
    if said is not None and not bool(said.all()):
        unclear = ~said.all(1)  # in these some modality says nothing
        on_those = (weights * said).sum(1)
        made["on_informative"] = on_those[unclear].mean().item()
        made["share_informative"] = (said.double().mean(1))[unclear].mean().item()
    if right := correctness(setting, alone, weights):
        shown = torch.stack([right[name] for name in names], 1)  # (samples, modalities)
        top = weights.argmax(1, keepdim=True)
        made |= {
            "picked_right": shown.gather(1, top).double().mean().item(),
            "mean_right": shown.double().mean().item(),
            "any_right": shown.any(1).double().mean().item(),
            "right": shown[:SHOWN].tolist(),
            "weight_where_right": {
                name: weights[:, place][shown[:, place]].mean().item()
                for place, name in enumerate(names)
            },
            "weight_where_wrong": {
                name: weights[:, place][~shown[:, place]].mean().item()
                for place, name in enumerate(names)
            },
        }
    return made


def correctness(
    setting: ModalSetting, alone: Mapping[str, SubNetwork], weights: Tensor
) -> dict[str, Tensor]:
    """Return for each modality of which samples it alone says the class, ``(samples,)`` bool.

    Nothing where targets are no classes, or samples lack modalities.
    """
    found: dict[str, Tensor] = {}
    if gaps(setting.data.test):
        return found
    for name, network in alone.items():
        outputs, targets = outputs_of(setting, name, network, setting.data.test)
        if outputs.dim() != 2 or targets.is_floating_point() or len(outputs) != len(weights):
            return {}
        found[name] = outputs.argmax(1) == targets
    return found
