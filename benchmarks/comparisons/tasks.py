"""Tasks beside the package's own, to show what a choice in them does.

Run from the root of the repository, for example:

    beyondprop compare --task benchmarks.comparisons.tasks:digits_relu
    beyondprop compare --task benchmarks.comparisons.tasks:cifar_vgg8_modules --rules infopro
"""

from dataclasses import replace
from pathlib import Path

from torch import nn

from beyondprop.tasks import Data, Split, find


def relu_mlp() -> nn.Module:
    """Return digits-mlp's network with ReLU in place of tanh."""
    model = find("digits-mlp").model()
    return nn.Sequential(*(nn.ReLU() if isinstance(m, nn.Tanh) else m for m in model))


digits_relu = replace(find("digits-mlp"), name="digits-mlp-relu", model=relu_mlp)


def part_of_cifar(folder: Path | None) -> Data:
    """Return CIFAR-10 with the first 10,000 training and 1,000 validation images alone."""
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
    """Return cifar-vgg8-narrow's network as three modules, the last one with the output layer."""
    layers = list(find("cifar-vgg8-narrow").model().children())
    ends = [place + 1 for place, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    parts = layers[: ends[0]], layers[ends[0] : ends[1]], layers[ends[1] :]
    return nn.Sequential(*(nn.Sequential(*part) for part in parts))


cifar_vgg8_modules = replace(
    find("cifar-vgg8-narrow"), name="cifar-vgg8-modules", model=vgg8b_modules
)
