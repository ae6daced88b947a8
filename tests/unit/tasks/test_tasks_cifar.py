import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from cifar_mirror import (
    Batches,
    jpeg_fields,
    pickled_array,
    pickled_batch,
    pickled_labels,
    put_archive,
    put_batches,
    put_binary,
    put_jpegs,
    smooth_images,
    source_of,
    tiny_batches,
    tiny_images,
)
from idx_mirror import Mirror

from beyondprop.errors import UserError
from beyondprop.tasks import Data, cifar
from beyondprop.tasks.cifar_files import (
    CIFAR10,
    TEST,
    TRAIN,
    Cifar,
    batch,
    binary_batch,
)

REAL = os.environ.get("BEYONDPROP_DATA")  # read before the tests hide it
ARCHIVE = "cifar-10-python.tar.gz"


@pytest.fixture
def batches() -> Batches:
    return tiny_batches()


@pytest.fixture
def published(tmp_path: Path, batches: Batches) -> Path:
    """The one published archive."""
    return put_archive(tmp_path / "published", batches) / ARCHIVE


@pytest.fixture
def source(batches: Batches, published: Path, mirror: Mirror) -> Cifar:
    shutil.copy(published, mirror.folder)
    return source_of(batches, published, mirror.url)


@pytest.fixture
def tiny(tmp_path: Path, source: Cifar, batches: Batches) -> Data:
    return cifar.load(source, 1, put_batches(tmp_path / "given", batches))


def test_sizes_and_types(tiny: Data) -> None:
    assert tiny.name == "CIFAR-10"
    assert tiny.train.inputs.shape == (50, 3, 32, 32)
    assert tiny.validation.inputs.shape == (10, 3, 32, 32)
    assert tiny.test.inputs.shape == (20, 3, 32, 32)
    assert tiny.validation.targets.bincount().tolist() == [1] * 10
    assert tiny.train.inputs.dtype == torch.float32
    assert tiny.train.inputs.is_contiguous()
    assert tiny.train.targets.dtype == torch.int64
    assert tiny.classes[:3] == ("airplane", "automobile", "bird")
    assert len(tiny.classes) == 10


def test_each_channel_is_standardised_by_the_training_part(tiny: Data) -> None:
    train = tiny.train.inputs.double()
    assert train.mean((0, 2, 3)).abs().max() < 1e-6
    assert (train.var((0, 2, 3), correction=0) - 1).abs().max() < 1e-6
    assert tiny.validation.inputs.mean((0, 2, 3)).abs().min() > 1e-6


def test_every_image_keeps_its_pixels_and_its_label(tiny: Data) -> None:
    images, labels = tiny_images()
    test = images[60:].reshape(20, 3, 32, 32).astype(float)
    found = tiny.test.inputs.double().numpy()
    lines = [np.polyfit(found[:, c].ravel(), test[:, c].ravel(), 1) for c in range(3)]
    slope, offset = np.array(lines).T.reshape(2, 3, 1, 1)
    restored = [
        (part.inputs.double().numpy() * slope + offset).round().astype(np.uint8)
        for part in (tiny.train, tiny.validation, tiny.test)
    ]
    assert (restored[2] == test).all()
    assert tiny.test.targets.tolist() == labels[60:].tolist()
    targets = torch.cat([tiny.train.targets, tiny.validation.targets]).tolist()
    rows = [image.tobytes() for image in np.concatenate(restored[:2])]
    expected = [image.tobytes() for image in images[:60]]
    assert sorted(zip(rows, targets, strict=True)) == sorted(
        zip(expected, labels[:60].tolist(), strict=True)
    )


def test_the_archive_holds_the_same(
    tmp_path: Path, source: Cifar, published: Path, tiny: Data
) -> None:
    before = sorted(tmp_path.rglob("*"))
    found = cifar.load(source, 1, published.parent)
    assert found.name == "CIFAR-10"
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(found, part).inputs, getattr(tiny, part).inputs)
        assert torch.equal(getattr(found, part).targets, getattr(tiny, part).targets)
    assert sorted(tmp_path.rglob("*")) == before  # nothing is unpacked to the disk


def test_it_is_downloaded_once_and_verified(
    tmp_path: Path, source: Cifar, mirror: Mirror, published: Path
) -> None:
    for _ in range(2):
        assert cifar.load(source, 1).name == "CIFAR-10"
    assert mirror.requests == [ARCHIVE]
    kept = tmp_path / "cache/cifar-10" / ARCHIVE
    assert kept.read_bytes() == published.read_bytes()


def test_another_archive_is_not_kept(tmp_path: Path, source: Cifar, mirror: Mirror) -> None:
    put_archive(mirror.folder, {"a": b"login page"})
    with pytest.raises(UserError, match="not the published file") as raised:
        cifar.load(source, 1)
    assert f"put its files ({ARCHIVE}) into a folder cifar-10/ in a folder" in str(raised.value)
    assert not list((tmp_path / "cache/cifar-10").iterdir())


def test_order_of_the_places_and_forms(
    tmp_path: Path,
    source: Cifar,
    batches: Batches,
    mirror: Mirror,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Places in their order, and within each the published form before the lossy one."""
    named = tmp_path / "named"
    named.mkdir()
    monkeypatch.setenv("BEYONDPROP_DATA", str(named))
    put_archive(tmp_path / "cache", batches)
    assert cifar.load(source, 1).name == "CIFAR-10"
    put_jpegs(named)
    assert cifar.load(source, 1).name == "CIFAR-10 (JPEG)"
    put_batches(named, batches)
    assert cifar.load(source, 1).name == "CIFAR-10"
    assert cifar.load(source, 1, put_jpegs(tmp_path / "given")).name == "CIFAR-10 (JPEG)"
    assert not mirror.requests


def test_a_given_folder_may_be_that_of_the_files(
    tmp_path: Path, source: Cifar, batches: Batches
) -> None:
    put_jpegs(put_batches(tmp_path / "given", batches))
    for folder, name in (
        ("cifar-10-batches-py", "CIFAR-10"),
        ("cifar10-jpeg", "CIFAR-10 (JPEG)"),
    ):
        assert cifar.load(source, 1, tmp_path / "given" / folder).name == name


def test_a_given_folder_without_files_is_an_error(tmp_path: Path, source: Cifar) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    (folder / "cifar-10-binary.tar.gz").touch()
    said = rf"^CIFAR-10 is not in {folder}, which holds cifar-10-binary.tar.gz; put its files \(cif"
    with pytest.raises(UserError, match=said):
        cifar.load(source, 1, folder)


def test_batches_that_are_missing_are_named(
    tmp_path: Path, source: Cifar, batches: Batches
) -> None:
    del batches["data_batch_3"], batches["test_batch"]
    folder = put_batches(tmp_path / "given", batches) / "cifar-10-batches-py"
    for given in (folder, folder.parent):
        with pytest.raises(UserError, match=f": {folder} lacks data_batch_3, test_batch; put its"):
            cifar.load(source, 1, given)


def test_the_binary_version_holds_the_same(tmp_path: Path, source: Cifar, tiny: Data) -> None:
    folder = put_binary(tmp_path / "binary")
    for given in (folder, folder / "cifar-10-batches-bin"):
        found = cifar.load(source, 1, given)
        assert found.name == "CIFAR-10 (binary version)"
        for part in ("train", "validation", "test"):
            assert torch.equal(getattr(found, part).inputs, getattr(tiny, part).inputs)
            assert torch.equal(getattr(found, part).targets, getattr(tiny, part).targets)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has 0 bytes, which are not records of 3,073"),
        (bytes(3074), "has 3,074 bytes"),
        (b"\n" + bytes(3072), "run from 10 to 10"),
    ],
)
def test_other_binary_files_are_refused(content: bytes, said: str) -> None:
    with pytest.raises(UserError, match=f"some.bin.* {said}"):
        binary_batch(content, "some.bin")


def test_jpeg_images_and_their_labels(tmp_path: Path, source: Cifar) -> None:
    name, train, test = source.read(put_jpegs(tmp_path / "given"))
    assert name == "CIFAR-10 (JPEG)"
    pixels = torch.cat([train.images, test.images]).permute(0, 2, 3, 1)
    assert (pixels.int() - torch.from_numpy(smooth_images(80)).int()).abs().float().mean() < 2
    assert train.labels.tolist() == [n % 10 for n in range(60)]
    assert test.labels.tolist() == [n % 10 for n in range(20)]


def test_a_batch_that_is_not_the_published_one_is_not_even_parsed(
    tmp_path: Path, source: Cifar, batches: Batches
) -> None:
    folder = put_batches(tmp_path / "given", batches | {TRAIN[2]: b"cos\nsystem\n"})
    with pytest.raises(UserError, match=r"data_batch_3 is damaged or belongs .* \(its MD5 is not"):
        cifar.load(source, 1, folder)


def test_an_archive_that_is_not_the_published_one_is_refused(
    tmp_path: Path, source: Cifar, batches: Batches
) -> None:
    folder = put_archive(tmp_path / "given", batches | {TEST: batches[TRAIN[0]]})
    with pytest.raises(UserError, match=r"tar\.gz is damaged or belongs .*SHA-256"):
        cifar.load(source, 1, folder)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda b: b | {TEST: b[TRAIN[0]]}, r"^test_batch in .*tar\.gz is damaged .*MD5"),
        (lambda b: {TEST: b[TEST]}, r"tar\.gz is not the archive of CIFAR-10 \(.*data_batch_1"),
    ],
    ids=["another member", "missing members"],
)
def test_the_members_are_verified_too(
    tmp_path: Path, batches: Batches, make: Callable[[Batches], Batches], message: str
) -> None:
    folder = put_archive(tmp_path / "given", make(batches))
    with pytest.raises(UserError, match=message):
        cifar.load(source_of(batches, folder / ARCHIVE), 1, folder)


def test_what_is_no_archive_is_one_sentence(tmp_path: Path, batches: Batches) -> None:
    for content in (b"", b"no archive", b"\x1f\x8b damaged"):
        (tmp_path / ARCHIVE).write_bytes(content)
        with pytest.raises(UserError, match=r"tar\.gz is not the archive of CIFAR-10"):
            cifar.load(source_of(batches, tmp_path / ARCHIVE), 1, tmp_path)


GOOD = pickled_array(np.zeros((2, 3072), np.uint8))


@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        (pickled_array(np.zeros((2, 784), np.uint8)), [0, 1], r"is not \(n, 3072\) but \(2, 784\)"),
        (b"N", [0, 1], "the data of x is not an array"),
        (GOOD, [0], "x has 2 images but 1 labels"),
        (GOOD, [], "x has 2 images but 0 labels"),
        (GOOD, [0, 10], "run from 0 to 10, not from 0 to 9"),
        (GOOD, [-1, 0], "run from -1 to 0"),
    ],
)
def test_odd_batches_are_refused(data: bytes, labels: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        batch(pickled_batch(data, pickled_labels(labels)), "x")


def test_labels_must_be_whole_numbers() -> None:
    for labels in (b"N", b"](NNe", b"](\x88\x89e"):
        with pytest.raises(UserError, match="the labels of x are not a list of whole numbers"):
            batch(pickled_batch(GOOD, labels), "x")


def test_odd_labels_of_jpegs_are_refused(tmp_path: Path, source: Cifar) -> None:
    folder = put_jpegs(tmp_path / "given")
    fields = jpeg_fields(smooth_images(2)) | {"labels": np.array([3, 12])}
    np.savez(folder / "cifar10-jpeg/test.npz", **fields)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"test\.npz run from 3 to 12, not from 0 to 9"):
        cifar.load(source, 1, folder)


def test_the_published_hashes_are_all_there() -> None:
    assert [len(digest or "") for digest in CIFAR10.batches.files.values()] == [32] * 6
    assert [len(digest or "") for digest in CIFAR10.archive.files.values()] == [64]
    assert tuple(CIFAR10.batches.files) == (*TRAIN, TEST)
    assert all(url.endswith("/") for url in CIFAR10.archive.urls)


def test_the_convnet_is_lenet() -> None:
    model = cifar.lenet()
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert sum(p.numel() for p in model.parameters()) == 62_006


def test_only_the_resnet_augments_and_both_decay_their_weights() -> None:
    assert cifar.CIFAR_CONV.augment is None
    assert cifar.CIFAR_RESNET20.augment is cifar.crop_and_flip
    for task in (cifar.CIFAR_CONV, cifar.CIFAR_RESNET20):
        optimizer = task.optimizer(task.model().parameters(), task.learning_rate)
        (group,) = optimizer.param_groups
        assert group["momentum"] == 0.9
        assert group["weight_decay"] == 5e-4


@pytest.mark.skipif(REAL is None, reason="BEYONDPROP_DATA is not set: the real files are not read")
def test_the_real_files() -> None:
    """Sizes, and the statistics that are commonly given for the 50,000 training images."""
    assert REAL is not None
    try:
        name, train, test = CIFAR10.read(Path(REAL))
    except UserError as error:
        if "is not in" not in str(error):
            raise
        pytest.skip("BEYONDPROP_DATA has no CIFAR-10")
    assert name in ("CIFAR-10", "CIFAR-10 (JPEG)")
    assert train.images.shape == (50_000, 3, 32, 32)
    assert test.images.shape == (10_000, 3, 32, 32)
    assert train.labels.bincount().tolist() == [5_000] * 10
    assert test.labels.bincount().tolist() == [1_000] * 10
    scale = [cifar.mean_and_std(train.images[:, channel]) for channel in range(3)]
    assert np.array(scale) / 255 == pytest.approx(
        np.array([[0.4914, 0.2470], [0.4822, 0.2435], [0.4465, 0.2616]]), abs=5e-3
    )
    if name == "CIFAR-10":
        assert train.labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
