"""Tasks of folders of images."""

import pickle
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from beyondprop.errors import UserError, install
from beyondprop.experiment import RunSpec, train
from beyondprop.tasks import Task, folders
from beyondprop.tasks.augment import crop_and_flip


def picture(path: Path, value: int, size: tuple[int, int] = (12, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.RandomState(value).randint(0, 40, (*size, 3))
    Image.fromarray((noise + value).astype(np.uint8)).save(path)


def filled(folder: Path, each: int = 10) -> Path:
    for i in range(each):
        picture(folder / "dark" / f"{i}.png", 10 + i)
        picture(folder / "light" / f"{i}.jpg", 190 + i)
    (folder / "dark" / "notes.txt").write_text("no image")
    return folder


def test_images_are_resized_standardised_and_split_by_class(tmp_path: Path) -> None:
    data = Task.from_folder(filled(tmp_path), 8).load(None)
    assert data.classes == ("dark", "light")
    assert [len(part) for part in data.parts.values()] == [12, 4, 4]
    x, y = data.train.batch(slice(None))
    assert x.shape == (12, 3, 8, 8)
    assert x.mean((0, 2, 3)).abs().max() < 1e-5
    assert y.tolist() == [0] * 6 + [1] * 6
    assert x[y == 0].max() < x[y == 1].min()


def test_parts_that_have_folders_are_those_and_others_are_drawn(tmp_path: Path) -> None:
    filled(tmp_path / "train")
    filled(tmp_path / "test", each=3)
    task = Task.from_folder(tmp_path, 8, validation=0.3)
    assert [len(part) for part in task.load(None).parts.values()] == [14, 6, 6]
    filled(tmp_path / "val", each=2)
    assert [len(part) for part in task.load(None).parts.values()] == [20, 4, 6]


def test_a_task_of_a_folder_travels_and_trains(tmp_path: Path) -> None:
    path = filled(tmp_path / "pictures")
    task = Task.from_folder(path, 8, grey=True, augment=crop_and_flip, epochs=3, batch_size=4)
    assert task.summary == "images of pictures at 8 x 8 pixels, one of 2 classes"
    sent = pickle.loads(pickle.dumps(task))
    assert sent.model()(torch.zeros(2, 1, 8, 8)).shape == (2, 2)
    record = train(RunSpec(rule="dfa"), tmp_path / "run", task=sent)
    assert record["status"] == "finished"
    assert record["task"]["augmented"]


@pytest.mark.parametrize("size", [8, 9, 16, 32])
def test_the_network_takes_every_size(tmp_path: Path, size: int) -> None:
    model = Task.from_folder(filled(tmp_path), size).model()
    assert model(torch.zeros(2, 3, size, size)).shape == (2, 2)


def test_what_cannot_be_used_is_told_in_one_line(tmp_path: Path) -> None:
    def fails(message: str, path: Path, **settings: Any) -> None:
        with pytest.raises(UserError, match=message) as error:
            Task.from_folder(path, **settings).load(None)
        assert "\n" not in str(error.value)

    fails("nowhere is not a folder", tmp_path / "nowhere")
    fails("holds no folder", tmp_path)
    (tmp_path / "one" / "dark").mkdir(parents=True)
    fails("holds one folder, dark: it needs a folder", tmp_path / "one")
    (tmp_path / "one" / "light").mkdir()
    fails("dark holds no image", tmp_path / "one")
    pair = filled(tmp_path / "pair")
    fails("at least 8 pixels, not 4", pair, size=4)
    (pair / "dark" / "3.png").write_bytes(b"\x89PNG and no more")
    fails(r"3\.png is not a readable image .*: replace or remove it", pair)
    few = filled(tmp_path / "few", each=2)
    fails("there are 2 samples of class 'dark'", few)
    parts = tmp_path / "parts"
    filled(parts / "train")
    picture(parts / "test" / "grey" / "0.png", 100)
    fails("a class grey that the training images do not have", parts)


def test_without_pillow_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task.from_folder(filled(tmp_path), 8)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UserError, match=re.escape(install("data"))):
        task.load(None)


def test_grey_images_of_16_bits_are_not_clipped(tmp_path: Path) -> None:
    for name, value in (("dark", 1000), ("light", 60000)):
        (tmp_path / name).mkdir()
        for i in range(6):
            deep = np.full((8, 8), value + 500 * i, dtype=np.uint16)
            Image.fromarray(deep).save(tmp_path / name / f"{i}.png")
    x, y = Task.from_folder(tmp_path, 8, grey=True).load(None).train.batch(slice(None))
    assert x[y == 0].mean() < -0.9
    assert x[y == 1].mean() > 0.9


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_images_of_32_bits_are_refused(tmp_path: Path, kind: Any) -> None:
    deep = Image.fromarray(np.full((8, 8), 1, dtype=kind))
    deep.save(filled(tmp_path) / "dark" / "deep.tiff")
    with pytest.raises(UserError, match=r"deep\.tiff is not a readable image .*32 bits"):
        Task.from_folder(tmp_path, 8).load(None)


def test_what_an_image_is_read_as_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = filled(tmp_path)
    Image.new("RGB", (12, 10)).save(pair / "dark" / "3.png", format="ICNS")
    with pytest.raises(UserError, match=r"3\.png is not a readable image \(cannot identify"):
        Task.from_folder(pair).load(None)
    picture(pair / "dark" / "3.png", 3)
    monkeypatch.setattr(folders, "PIXELS", 119)
    with pytest.raises(UserError, match=r"readable image \(it has more than 119 pixels\): replace"):
        Task.from_folder(pair).load(None)


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    (filled(tmp_path) / "dark" / "._0.png").write_text("what a file manager leaves")
    assert len(Task.from_folder(tmp_path, 8).load(None).train) == 12


def test_parts_may_begin_with_a_capital(tmp_path: Path) -> None:
    for part, each in (("Train", 5), ("Val", 2), ("Test", 3)):
        filled(tmp_path / part, each)
    data = Task.from_folder(tmp_path, 8).load(None)
    assert data.classes == ("dark", "light")
    assert [len(part) for part in data.parts.values()] == [10, 4, 6]


def test_a_class_beside_the_parts_is_not_dropped(tmp_path: Path) -> None:
    filled(tmp_path / "train")
    filled(tmp_path / "test")
    picture(tmp_path / "grey" / "0.png", 100)
    with pytest.raises(UserError, match="holds grey next to its parts: move each class into"):
        Task.from_folder(tmp_path, 8).load(None)


def test_parts_without_training_images_are_no_classes(tmp_path: Path) -> None:
    filled(tmp_path / "val")
    filled(tmp_path / "test")
    with pytest.raises(UserError, match="holds test and val but no folder train"):
        Task.from_folder(tmp_path, 8)
