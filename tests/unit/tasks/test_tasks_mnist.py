import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from idx_mirror import Contents, put

from beyondprop.errors import UserError
from beyondprop.tasks import (
    Data,
    FileSource,
    Task,
    mnist,
)

REAL = os.environ.get("BEYONDPROP_DATA")  # read before the tests hide it


@pytest.fixture
def tiny(source: FileSource) -> Data:
    return mnist.load(source, ("a", "b", "c"), validation_per_class=4)


def test_sizes_and_types(tiny: Data) -> None:
    assert tiny.name == "Tiny-MNIST"
    assert tiny.train.inputs.shape == (48, 1, 28, 28)
    assert tiny.validation.inputs.shape == (12, 1, 28, 28)
    assert tiny.test.inputs.shape == (20, 1, 28, 28)
    assert tiny.validation.targets.bincount().tolist() == [4, 4, 4]
    assert tiny.train.inputs.dtype == torch.float32
    assert tiny.train.targets.dtype == torch.int64


def test_every_image_keeps_its_label_and_the_training_part_sets_the_scale(
    tiny: Data, contents: Contents
) -> None:
    values = {name: np.frombuffer(content, np.uint8) for name, content in contents.items()}
    test = values["t10k-images-idx3-ubyte"][16:].astype(float)
    slope, offset = np.polyfit(test, tiny.test.inputs.flatten().double().numpy(), 1)
    train, validation = (
        (part.inputs.flatten(1).double().numpy() - offset) / slope
        for part in (tiny.train, tiny.validation)
    )
    assert train.mean() == pytest.approx(-offset / slope, rel=1e-5)
    assert train.std() == pytest.approx(1 / slope, rel=1e-5)
    assert validation.mean() != pytest.approx(-offset / slope, rel=1e-5)

    images = np.concatenate([train, validation]).round().astype(np.uint8)
    labels = torch.cat([tiny.train.targets, tiny.validation.targets])
    found = sorted(
        (image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)
    )
    published = values["train-images-idx3-ubyte"][16:].reshape(60, 784)
    assert found == sorted((image.tobytes(), n % 3) for n, image in enumerate(published))
    assert tiny.test.targets.tolist() == [n % 3 for n in range(20)]


@given(values=st.lists(st.integers(0, 255), min_size=1, max_size=50))
def test_mean_and_std_are_numpys(values: list[int]) -> None:
    mean, std = mnist.mean_and_std(torch.tensor(values, dtype=torch.uint8))
    assert mean == pytest.approx(np.mean(values))
    assert std == pytest.approx(np.std(values), abs=1e-9)


def test_a_given_folder_is_the_one_that_is_read(
    tmp_path: Path, source: FileSource, contents: Contents
) -> None:
    folder = put(tmp_path / "given", contents)
    mnist.load(source, ("a", "b", "c"), 4, folder)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(contents["train-labels-idx1-ubyte"])
    with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte\.gz is damaged or belongs to"):
        mnist.load(source, ("a", "b", "c"), 4, folder)


@pytest.mark.parametrize("task", [mnist.MNIST_MLP, mnist.FASHION_MLP], ids=lambda task: task.name)
def test_models_fit_the_images(task: Task) -> None:
    torch.manual_seed(0)
    model = task.model()
    assert model(torch.randn(2, 1, 28, 28)).shape == (2, 10)
    assert sum(isinstance(layer, torch.nn.Linear) for layer in model.modules()) == 3


@pytest.mark.skipif(REAL is None, reason="BEYONDPROP_DATA is not set: the real files are not read")
@pytest.mark.parametrize(
    ("task", "mean", "std", "first_test_labels"),
    [
        (mnist.MNIST_MLP, 0.1307, 0.3081, [7, 2, 1, 0, 4]),
        (mnist.FASHION_MLP, 0.2860, 0.3530, [9, 2, 1, 1, 6]),
    ],
    ids=["mnist", "fashion"],
)
def test_the_real_files(task: Task, mean: float, std: float, first_test_labels: list[int]) -> None:
    """Sizes, and the statistics that are commonly given for the 60,000 training images."""
    assert REAL is not None
    try:
        data = task.load(Path(REAL))
    except UserError as error:
        if "is not in" not in str(error):
            raise
        pytest.skip(f"BEYONDPROP_DATA has no {task.name}")
    parts = (data.train, data.validation, data.test)
    assert [len(part) for part in parts] == [55_000, 5_000, 10_000]
    assert data.test.targets[:5].tolist() == first_test_labels
    low, high = data.train.inputs.min().item(), data.train.inputs.max().item()
    assert 1 / (high - low) == pytest.approx(std, abs=1e-3)
    assert -low / (high - low) == pytest.approx(mean, abs=1e-3)
