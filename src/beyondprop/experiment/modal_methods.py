"""Methods that train a complete multimodal network."""

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
"""The weights of Gradient-Blending are measured during 1/SHARE of the epochs."""


Lone = tuple[nn.Module, float, LabelledBatches, LabelledBatches]
"""A network, its learning rate, and its training and validation batches."""


@dataclass(frozen=True)
class Ground:
    """The starting point of a complete network's training.

    Attributes:
        setting: The seed's setting.
        folder: The seed's folder.
        alone: Result of each modality's training alone, by name.
        rate: Learning rate of the joint training.
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
        """The sub-networks with the weights from their training alone."""
        return {
            name: kept(self.setting, self.folder, name, each) for name, each in self.alone.items()
        }


@dataclass(frozen=True)
class Prepared:
    """How a network is balanced, and the cost of finding that.

    Attributes:
        balance: Balance of the joint training.
        operations: Floating-point operations before the joint training, without pre-training.
        seconds: Time of these operations.
        rates: Factors for the learning rates of each modality's encoder and projection, by name.
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
    """Return no balancing: encoders and projections use the rates that were best for them alone.

    The fusion and the head use the rate of the joint training.
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
    """Return UMT (uni-modal teachers) with the encoders that were trained alone as teachers."""
    return Prepared(UniModalTeachers(teachers={n: s.encoder for n, s in ground.networks.items()}))


def blended(ground: Ground) -> Prepared:
    """Return Gradient-Blending with measured weights.

    To measure how far they overfit, each modality alone and the complete network are trained from
    scratch by backprop for a share of the epochs. The losses after the last of these epochs count.
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
    """A method that trains a complete network.

    Attributes:
        name: Display name.
        prepare: Returns how the network is balanced.
        pretrained: Whether it starts from the sub-networks that were trained alone.
        taught: Whether it needs these sub-networks in another way.
        rated: Whether it uses the learning rates that were best for single modalities.
        attentive: True if the setting's fusion joins the modalities, False for concatenation.
        ruled: Whether the spec's rule may train it; otherwise backprop trains it.
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
        """Whether it requires the training of each modality alone at several learning rates."""
        return self.pretrained or self.taught or self.rated

    def network(self, ground: Ground) -> MultimodalNetwork:
        """Return the network at the start of its joint training."""
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
"""Methods by name; late fusion, which needs no further training, is in `modal_measures`."""


def recipe_of(setting: ModalSetting, method: Method, rate: float, **changes: Any) -> Recipe:
    """Return the recipe for the training of a complete network."""
    recipe = setting.recipe(rate, **changes)
    return recipe if method.ruled else replace(recipe, rule=Backprop())


def step_operations(
    setting: ModalSetting, method: Method, network: MultimodalNetwork, balance: Balance
) -> float:
    """Return the operations of a step, for one sample; the network is not changed."""
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
    """Return the operations per sample of one step, plus those of ``warm`` steps of the fusion."""
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
