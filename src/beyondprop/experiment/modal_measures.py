"""Measures of a multimodal network on the test data."""

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
"""Largest number of modalities for which every subset is tested.

With more modalities, only each one alone and all but one are tested.
"""
SHOWN = 12
"""Number of test samples for which a record contains each modality's weight."""


class LateFusion(nn.Module):
    """Late fusion: the mean of the single modalities' predicted probabilities or numbers.

    Args:
        networks: Sub-networks with separate heads, by modality.
        targets: Examples of the targets that they learned: int64 for classes, bool for labels,
            float for numbers.
    """

    def __init__(self, networks: Mapping[str, SubNetwork], targets: Tensor) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(networks)
        self.labels, self.values = targets.dtype == torch.bool, targets.is_floating_point()

    def forward(self, present: Tensor | None = None, **inputs: Any) -> Tensor:
        """Return log-probabilities ``(batch, classes)``, logits of labels, or numbers.

        The input of a missing modality may be anything: another sample's input replaces it.

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
    """Return a network's scores with missing and noisy modalities, and its modality weights.

    Args:
        setting: The seed's setting.
        network: The trained network, in eval mode.
        alone: Each modality's sub-network, whose predictions show whether that modality alone is
            right.
    """
    return {
        "named": named_scores(*predictions(setting, network)),
        "missing": dict(with_parts(setting, network, tuple(alone))),
        "noise": dict(with_noise(setting, network, tuple(alone))),
        "trust": trusted(setting, network, alone),
    }


@torch.no_grad()
def predictions(setting: ModalSetting, network: nn.Module) -> tuple[Tensor, Tensor]:
    """Return a network's outputs for the test samples, and the targets."""
    held = Held(setting.data.test, setting.validation.size)
    pairs = [(tasks.call(network, inputs), targets) for inputs, targets in held]
    outputs, targets = (torch.cat(each) for each in zip(*pairs, strict=True))
    return outputs, targets


def with_parts(
    setting: ModalSetting, network: nn.Module, names: tuple[str, ...]
) -> Iterator[tuple[str, float | None]]:
    """Yield the names of given modalities, joined by +, and the score with only these as inputs.

    The score covers the samples that have at least one of them; None if there are none.
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
    """Return the test samples that have a given modality, with only the given modalities as inputs.

    None if there are no such samples.
    """
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
    """Yield each modality's name and the score when noise replaces it; None if no sample has it.

    The noise for real numbers is Gaussian, with the mean and standard deviation of each feature
    over the samples that have the modality. Integers come from another such sample.
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
    """Return the weights that a network gives modalities; None if it has no such weights.

    If the data state which modalities of a sample are informative, the result includes the total
    weight on these in samples with an uninformative modality, and their share of all modalities.
    For classes it also includes how often the modality with the largest weight is right alone, the
    mean over all modalities (the chance level), and how often at least one modality is right.
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
        unclear = ~said.all(1)  # samples with an uninformative modality
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
    """Return for each modality which samples it classifies correctly alone, ``(samples,)`` bool.

    The result is empty if the targets are not classes, or samples lack modalities.
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
