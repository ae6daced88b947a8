"""Additional tasks, each of which shows the effect of one choice in a task.

Run from the root of the repository, for example:

    beyondprop compare --task benchmarks.comparisons.tasks:digits_relu
    beyondprop compare --task benchmarks.comparisons.tasks:cifar_vgg8_modules --rules infopro
"""

from dataclasses import replace
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from beyondprop import slots
from beyondprop.models.goodness import Doubled
from beyondprop.tasks import Data, Split, find


def relu_mlp() -> nn.Module:
    """Return digits-mlp's network with ReLU instead of tanh."""
    model = find("digits-mlp").model()
    return nn.Sequential(*(nn.ReLU() if isinstance(m, nn.Tanh) else m for m in model))


digits_relu = replace(find("digits-mlp"), name="digits-mlp-relu", model=relu_mlp)


def part_of_cifar(folder: Path | None) -> Data:
    """Return CIFAR-10 with only the first 10,000 training and 1,000 validation images."""
    data = find("cifar-resnet20").load(folder)
    train = Split(data.train.inputs[:10_000].clone(), data.train.targets[:10_000])
    validation = Split(data.validation.inputs[:1_000].clone(), data.validation.targets[:1_000])
    return replace(data, train=train, validation=validation)


cifar_resnet20_short = replace(
    find("cifar-resnet20"),
    name="cifar-resnet20-short",
    load=part_of_cifar,
    epochs=2,
    batch_size=64,
    learning_rate=0.03,
)


cifar_vgg8_short = replace(
    find("cifar-vgg8-narrow"),
    name="cifar-vgg8-short",
    load=part_of_cifar,
    epochs=3,
    batch_size=64,
)


def with_fixed_filters() -> nn.Module:
    """Return cifar-conv's network with convolutions that keep their random weights."""
    model = find("cifar-conv").model()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.requires_grad_(False)
    return model


cifar_fixed_filters = replace(
    find("cifar-conv"), name="cifar-conv-fixed-filters", model=with_fixed_filters
)


def vgg8b_modules() -> nn.Module:
    """Return cifar-vgg8-narrow's network as three modules, the last with the output layer."""
    layers = list(find("cifar-vgg8-narrow").model().children())
    ends = [place + 1 for place, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    parts = layers[: ends[0]], layers[ends[0] : ends[1]], layers[ends[1] :]
    return nn.Sequential(*(nn.Sequential(*part) for part in parts))


cifar_vgg8_modules = replace(
    find("cifar-vgg8-narrow"), name="cifar-vgg8-modules", model=vgg8b_modules
)


def wide_slots() -> nn.Module:
    """Return digits-mlp's network with the slots of the released code: values and scores ±√3σ."""
    kind = slots.Reels(8, values=slots.WideGlorotUniform(), linear_scores=1.0, conv_scores=1.0)
    return slots.convert(find("digits-mlp").model(), kind).model


digits_slots_wide = replace(find("digits-slots"), name="digits-slots-wide", model=wide_slots)

TEMPERATURE = 20.0
"""The temperature of forward-forward, by which its loss divides the sum of squares."""


def summed_goodness() -> nn.Module:
    """Return digits-goodness' network, whose scores are sums of squares as in the paper."""
    model = find("digits-goodness").model()
    model.summed = True
    return model


def with_temperature(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of sums of squares divided by the temperature."""
    return F.cross_entropy(outputs / TEMPERATURE, targets)


digits_goodness_summed = replace(
    find("digits-goodness"),
    name="digits-goodness-summed",
    model=summed_goodness,
    loss=with_temperature,
)


def contrastive_conv() -> nn.Module:
    """Return the network that self-contrastive forward-forward's page recommends, for digits."""
    return nn.Sequential(
        nn.Conv2d(1, 96, 5, padding=2),
        Doubled(),
        nn.ReLU(),
        nn.MaxPool2d(4, 2, 1),
        nn.Flatten(),
        nn.Linear(96 * 4 * 4, 10),
    )


digits_contrastive = replace(find("digits-conv"), name="digits-contrastive", model=contrastive_conv)
