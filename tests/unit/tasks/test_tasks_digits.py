import gzip
import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor

from beyondprop.tasks import (
    Data,
    Split,
    Task,
    digits,
)


@pytest.fixture(scope="module")
def images() -> Data:
    return digits.load_images()


def rows(*parts: Split) -> list[list[int]]:
    """Samples as in the file: 64 pixels from 0 to 16, then the class."""
    return [
        [*map(int, (image.flatten() * 16).tolist()), int(target)]
        for part in parts
        for image, target in zip(part.inputs, part.targets, strict=True)
    ]


def test_the_embedded_file_is_that_of_scikit_learn() -> None:
    path = Path(digits.__file__).with_name("digits.csv.gz")
    content = gzip.decompress(path.read_bytes())
    expected = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
    assert hashlib.sha256(content).hexdigest() == expected
    assert "scikit-learn developers" in path.with_name("digits.NOTICE.txt").read_text()


def test_parts_together_are_the_file_each_row_once(images: Data) -> None:
    with gzip.open(Path(digits.__file__).with_name("digits.csv.gz"), "rt") as lines:
        expected = [[int(float(value)) for value in line.split(",")] for line in lines]
    assert sorted(rows(images.train, images.validation, images.test)) == sorted(expected)


def test_sizes_classes_and_range(images: Data) -> None:
    assert [len(part) for part in (images.train, images.validation, images.test)] == [
        1257,
        180,
        360,
    ]
    assert images.classes == tuple("0123456789")
    assert images.validation.targets.bincount().tolist() == [18] * 10
    assert images.test.targets.bincount().tolist() == [36] * 10
    assert images.train.inputs.shape == (1257, 1, 8, 8)
    assert images.train.inputs.dtype == torch.float32
    assert images.train.inputs.min() == 0
    assert images.train.inputs.max() == 1


def test_the_split_never_changes(images: Data) -> None:
    table = rows(images.train, images.validation, images.test)
    assert (
        hashlib.sha256(bytes(value for row in table for value in row)).hexdigest()
        == "f4f1372e02d0d976217eae1148ef2c4d85fd366fa83262871d2bb1d9a949d2d6"
    )


def test_vectors_are_the_same_samples(images: Data) -> None:
    vectors = digits.load_vectors(Path("/no/folder/is/needed"))
    assert torch.equal(vectors.train.inputs, images.train.inputs.flatten(1))
    assert torch.equal(vectors.test.inputs, images.test.inputs.flatten(1))
    assert torch.equal(vectors.validation.targets, images.validation.targets)


TASKS = (digits.DIGITS_MLP, digits.DIGITS_CONV)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_models_come_from_the_global_generator(task: Task) -> None:
    def build(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(seed)
        return task.model().state_dict()

    first, again, other = build(0), build(0), build(1)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_fifth_of_the_run_already_learns(task: Task) -> None:
    """Far above chance (0.1) on samples that were not trained on."""
    torch.manual_seed(0)
    data, model = task.load(None), task.model()
    optimizer = task.optimizer(model.parameters(), task.learning_rate)
    for _ in range(task.epochs // 5):
        for batch in torch.randperm(len(data.train)).split(task.batch_size):
            loss = task.loss(model(data.train.inputs[batch]), data.train.targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        score = task.metric(model.eval()(data.validation.inputs), data.validation.targets)
    assert score > 0.85
