"""The ways in which a network of several modalities is trained as a whole."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.progress import Progress
from torch import nn

from beyondprop._torch.pytrees import leaves
from beyondprop.experiment.modal_alone import begun, kept, of_modality
from beyondprop.experiment.modal_setting import ModalSetting
from beyondprop.modalities import MultimodalNetwork, SubNetwork, join
from beyondprop.modalities.balance import (
    JOINT,
    Balance,
    GradientBlending,
    GradientModulation,
    Joint,
    Losses,
    MMPareto,
    UniModalTeachers,
    blending_weights,
)
from beyondprop.neighbourhoods import heal
from beyondprop.pieces.stopping import validation_loss
from beyondprop.pieces.training import LabelledBatches, Recipe
from beyondprop.rules import Backprop

QUIET = Progress(disable=True)
SHARE = 3
"""Of the epochs one in so many is trained to measure the weights of Gradient-Blending."""


Lone = tuple[nn.Module, float, LabelledBatches, LabelledBatches]
"""A network, its learning rate, and its batches of training and validation."""


@dataclass(frozen=True)
class Ground:
    """What a network is trained as a whole from.

    Attributes:
        setting: Of its seed.
        folder: Of its seed.
        alone: What each modality reached alone, by name.
        rate: Of the joint training.
    """

    setting: ModalSetting
    folder: Path
    alone: Mapping[str, Mapping[str, Any]]
    rate: float

    @property
    def rates(self) -> dict[str, float]:
        """The learning rate at which each modality was trained alone, by name."""
        return {name: each["rate"] for name, each in self.alone.items()}

    @property
    def networks(self) -> dict[str, SubNetwork]:
        """The sub-networks as they were trained alone."""
        return {
            name: kept(self.setting, self.folder, name, each) for name, each in self.alone.items()
        }


@dataclass(frozen=True)
class Prepared:
    """How a network is balanced, and what finding that took.

    Attributes:
        balance: Of the joint training.
        operations: Floating-point operations before it, without pre-training.
        seconds: That these took.
        rates: By which the learning rate of a modality's encoder and projection is multiplied.
    """

    balance: Balance
    operations: float = 0.0
    seconds: float = 0.0
    rates: Mapping[str, float] = field(default_factory=dict)


def plain(ground: Ground) -> Prepared:
    """Return no balancing."""
    del ground
    return Prepared(Joint())


def by_modality(ground: Ground) -> Prepared:
    """Return no balancing: encoders and projections have the rates that served them best alone.

    The fusion and the head have the rate of the joint training.
    """
    return Prepared(Joint(), rates={name: own / ground.rate for name, own in ground.rates.items()})


def modulated(ground: Ground) -> Prepared:
    """Return OGM-GE."""
    del ground
    return Prepared(GradientModulation())


def pareto(ground: Ground) -> Prepared:
    """Return MMPareto."""
    del ground
    return Prepared(MMPareto())


def near_teachers(ground: Ground) -> Prepared:
    """Return UMT, whose teachers are the encoders that were trained alone."""
    return Prepared(UniModalTeachers(teachers={n: s.encoder for n, s in ground.networks.items()}))


def blended(ground: Ground) -> Prepared:
    """Return Gradient-Blending with weights that are measured.

    For them every modality alone and the whole are trained anew by backprop, for a share of the
    epochs, and taken as they are at the end of these: how far they overfit is what is measured.
    """
    setting, spent, taken = ground.setting, 0.0, 0.0
    epochs = max(1, setting.epochs // SHARE)
    networks: dict[str, Lone] = {
        name: (begun(setting, name), rate, of_modality(setting, name), held_out(setting, name))
        for name, rate in ground.rates.items()
    }
    networks[JOINT] = (setting.network(), ground.rate, setting.train, setting.validation)
    before, after = {}, {}
    for name, (network, rate, data, validation) in networks.items():
        before[name] = losses(setting, network.eval(), data, validation)
        recipe = setting.recipe(rate, epochs=epochs, rule=Backprop())
        curve = heal(network, data, setting.task.loss, recipe, QUIET)
        spent, taken = spent + curve.operations, taken + sum(curve.seconds)
        after[name] = losses(setting, network, data, validation)
    return Prepared(GradientBlending(blending_weights(before, after)), spent, taken)


def held_out(setting: ModalSetting, modality: str) -> LabelledBatches:
    """Return the validation batches of one modality."""
    return of_modality(setting, modality, setting.validation)


def losses(
    setting: ModalSetting, network: nn.Module, train: LabelledBatches, validation: LabelledBatches
) -> Losses:
    """Return the losses of a network on training and validation batches."""
    found = [validation_loss(network, each, setting.task.loss) for each in (train, validation)]
    return Losses(*found)


@dataclass(frozen=True)
class Method:
    """A way to train a network as a whole.

    Attributes:
        name: As people read it.
        prepare: Returns how the network is balanced.
        pretrained: Whether it begins with the sub-networks that were trained alone.
        taught: Whether it needs them otherwise.
        rated: Whether it takes from them the learning rates of single modalities.
        attentive: Whether the setting's own fusion joins modalities, or a concatenation.
        ruled: Whether the spec's rule may train it; backprop trains the others.
    """

    name: str
    prepare: Callable[[Ground], Prepared]
    pretrained: bool = False
    taught: bool = False
    rated: bool = False
    attentive: bool = True
    ruled: bool = False

    @property
    def builds_on_alone(self) -> bool:
        """Whether it needs that modalities are trained alone, each at several learning rates."""
        return self.pretrained or self.taught or self.rated

    def network(self, ground: Ground) -> MultimodalNetwork:
        """Return the network as its joint training begins."""
        setting = ground.setting
        made = setting.network() if self.attentive else setting.concatenated()
        if self.pretrained:
            for name, own in ground.networks.items():
                made.encoders[name].load_state_dict(own.encoder.state_dict())
                made.fusion.project[name].load_state_dict(own.project.state_dict())
        return made


OURS = "pre-training"
METHODS = {
    each.name: each
    for each in (
        Method(OURS, plain, pretrained=True, ruled=True),
        Method("joint", plain, ruled=True),
        Method(f"{OURS} + rates by modality", by_modality, pretrained=True, rated=True, ruled=True),
        Method("joint + rates by modality", by_modality, rated=True, ruled=True),
        Method(f"{OURS} + concatenation", plain, pretrained=True, attentive=False, ruled=True),
        Method("joint concatenation", plain, attentive=False, ruled=True),
        Method("Gradient-Blending", blended, rated=True),
        Method("OGM-GE", modulated, ruled=True),
        Method(f"{OURS} + OGM-GE", modulated, pretrained=True, ruled=True),
        Method("MMPareto", pareto),
        Method(f"{OURS} + MMPareto", pareto, pretrained=True),
        Method("UMT", near_teachers, taught=True),
    )
}
"""By name; what is set beside them without training is in `modal_measures`."""


def recipe_of(setting: ModalSetting, method: Method, rate: float, **changes: Any) -> Recipe:
    """Return how a network is trained as a whole."""
    recipe = setting.recipe(rate, **changes)
    return recipe if method.ruled else replace(recipe, rule=Backprop())


def step_operations(
    setting: ModalSetting, method: Method, network: MultimodalNetwork, balance: Balance
) -> float:
    """Return the operations of a step, for one sample; the network is left as it is."""
    return _tried(setting, method, network, balance, warm=0)


def warm_operations(setting: ModalSetting, method: Method, network: MultimodalNetwork) -> float:
    """Return the operations of a step of the fusion and the head alone, for one sample."""
    both, whole = (_tried(setting, method, network, Joint(), warm) for warm in (1, 0))
    return both - whole


def _tried(
    setting: ModalSetting,
    method: Method,
    network: MultimodalNetwork,
    balance: Balance,
    warm: int,
) -> float:
    """Return the operations of a sample in one step, and in one of the fusion alone before it."""
    batch = next(iter(setting.train))
    found = join(
        copy.deepcopy(network),
        [batch],
        [batch],
        setting.task.loss,
        setting.head,
        recipe=recipe_of(setting, method, setting.spec.rates[0], epochs=1),
        warm=warm,
        balance=balance,
        progress=QUIET,
    )
    return found.operations / len(next(leaves(batch[1])))
