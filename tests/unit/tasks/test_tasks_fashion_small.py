"""The embedded extract of Fashion-MNIST."""

import os

import numpy as np
import pytest
import torch

from beyondprop import tasks
from beyondprop.tasks import fashion_small, mnist


def test_the_split_is_balanced_and_half_inverted() -> None:
    data = fashion_small.load()
    assert [len(part) for part in (data.train, data.validation, data.test)] == [4000, 500, 1500]
    for part in (data.train, data.validation, data.test):
        assert part.inputs.shape[1:] == (196,)
        assert part.targets.bincount().tolist() == [len(part) // 10] * 10
        assert part.inputs.min() >= 0
        assert part.inputs.max() <= 1
        # The corners of an article of clothing are background: 0, or 1 where it is inverted.
        corner = part.inputs[:, 0].round()
        assert abs(corner.mean() - 0.5) < 0.05


def test_both_kinds_of_every_class_are_in_every_part() -> None:
    data = fashion_small.load()
    for part in (data.train, data.validation, data.test):
        inverted = torch.arange(len(part)) // 10 % 2 == 1
        assert part.targets[inverted].bincount().tolist() == [len(part) // 20] * 10


def test_it_is_a_task_of_its_own() -> None:
    task = tasks.find("fashion-small")
    outputs = task.model()(fashion_small.load().train.inputs[:3])
    assert outputs.shape == (3, 10)


def test_the_images_are_those_of_fashion_mnist() -> None:
    if not os.environ.get("BEYONDPROP_DATA"):
        pytest.skip("BEYONDPROP_DATA is not set: the real files are not read")
    whole = mnist.FASHION_MLP.load(None)
    small = fashion_small.load()
    inputs, targets = whole.test.inputs, whole.test.targets
    scale = inputs.max() - inputs.min()
    pixels = ((inputs - inputs.min()) / scale * 255).round().to(torch.int64)  # as in the files
    of_class = [pixels[targets == label][:150, 0] for label in range(10)]
    taken = torch.stack(of_class, 1).flatten(0, 1)  # (1500, 28, 28), the classes in turn
    halved = (taken.unflatten(1, (14, 2)).unflatten(3, (14, 2)).sum((2, 4)) + 2) // 4
    found = (small.test.inputs * 255).round().long().numpy()
    expected = halved.flatten(1).numpy()
    inverted = (np.arange(1500) // 10 % 2 == 1)[:, None]
    np.testing.assert_array_equal(found, np.where(inverted, 255 - expected, expected))


def test_the_transformer_sees_the_same_images() -> None:
    images, vectors = fashion_small.load_images(), fashion_small.load()
    assert images.test.inputs.shape == (1500, 1, 14, 14)
    assert torch.equal(images.train.inputs.flatten(1), vectors.train.inputs)
    assert torch.equal(images.train.targets, vectors.train.targets)
    assert images.classes == vectors.classes
