"""Spoken and written digits, made up; the true ones where they lie at hand."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from idx_mirror import put, tiny_mnist

from beyondprop.errors import UserError
from beyondprop.experiment import RunSpec, train
from beyondprop.tasks import Data
from beyondprop.tasks.mnist import MNIST
from beyondprop.tasks.multimodal import SPOKEN_DIGITS
from beyondprop.tasks.multimodal.spoken import (
    BANDS,
    FRAMES,
    SPEAKERS,
    SpokenDigits,
    paired,
    read,
    spectrogram,
)

REAL = os.environ.get("BEYONDPROP_DATA")  # read before the tests hide it
NAMES = [name for part in SPEAKERS for name in part]
UNCHECKED = replace(MNIST, files=dict.fromkeys(MNIST.files))
LOAD = SpokenDigits(pictures=UNCHECKED)


def put_recordings(folder: Path, per_class: int = 2) -> None:
    """Write tones of 300, 600 and 900 Hz, one for each digit 0 to 2, of different lengths."""
    waves, digits, speakers = [], [], []
    for digit in range(3):
        for who in NAMES:
            for take in range(per_class):
                length = 2000 + 1500 * take * NAMES.index(who)
                tone = np.sin(2 * np.pi * 300 * (digit + 1) * np.arange(length) / 8000)
                waves.append((tone * 1000 * (1 + take)).astype(np.int16))
                digits.append(digit)
                speakers.append(who)
    (folder / "fsdd").mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / "fsdd" / "fsdd.npz",
        samples=np.concatenate(waves),
        offsets=np.cumsum([0, *map(len, waves)]),
        digit=np.array(digits, np.uint8),
        speaker=np.array(speakers),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path / "mnist", tiny_mnist())
    put_recordings(tmp_path)
    return tmp_path


def test_a_tone_is_in_its_band_and_silence_everywhere() -> None:
    time = torch.arange(256 + 128 * (FRAMES - 1)) / 8000
    tone = torch.sin(2 * torch.pi * 1000 * time)
    tone[3000:] = 0
    found = spectrogram(torch.stack([tone, torch.zeros_like(tone)]))
    assert found.shape == (2, FRAMES, BANDS)
    assert (found[0, :20].argmax(1) == 16).all()  # 1000 Hz: of bands of 62.5 Hz the 17th
    silent = torch.tensor(0.1).log()
    torch.testing.assert_close(found[1], silent.expand(FRAMES, BANDS))
    torch.testing.assert_close(found[0, 24:], silent.expand(FRAMES - 24, BANDS))


def test_recordings_of_any_loudness_are_as_loud(folder: Path) -> None:
    frames, digits, speakers = read(folder / "fsdd" / "fsdd.npz")
    assert frames.shape == (36, FRAMES, BANDS)
    assert frames.dtype == torch.float32
    assert digits.tolist() == [0] * 12 + [1] * 12 + [2] * 12
    assert (speakers[:2] == NAMES[0]).all()
    torch.testing.assert_close(frames[0, :10], frames[1, :10], atol=0.2, rtol=0)


def test_each_recording_has_a_picture_of_its_class(folder: Path) -> None:
    data = LOAD(folder)
    assert [len(part) for part in data.parts.values()] == [24, 6, 6]
    contents = [part.batch(slice(None)) for part in data.parts.values()]
    for inputs, targets in contents:
        assert inputs["audio"].shape == (len(targets), FRAMES, BANDS)
        assert inputs["image"].shape == (len(targets), 1, 28, 28)
    images = torch.cat([inputs["image"].flatten(1) for inputs, _ in contents[:2]])
    assert len(images.unique(dim=0)) == 30  # no picture twice
    heard = contents[0][0]["audio"]
    torch.testing.assert_close(heard.mean((0, 1)), torch.zeros(BANDS), atol=1e-4, rtol=0)
    again = LOAD(folder).test.batch(slice(None))[0]
    assert torch.equal(again["image"], contents[2][0]["image"])


def test_pairs_are_of_one_class_and_none_twice() -> None:
    digits, labels = torch.tensor([1, 0, 1, 1, 0]), torch.tensor([0, 1] * 6)
    found = paired(digits, labels)
    assert torch.equal(labels[found], digits)
    assert len(found.unique()) == 5
    assert torch.equal(found, paired(digits, labels))
    with pytest.raises(UserError, match="3 recordings of a 1 and only 1 pictures"):
        paired(digits, torch.tensor([0, 0, 1]))


def test_a_run_learns_what_is_heard(folder: Path, tmp_path: Path) -> None:
    task = replace(SPOKEN_DIGITS, load=LOAD, epochs=15, batch_size=8)
    spec = RunSpec(rule="backprop", data=folder, measures=())
    record = train(spec, tmp_path / "run", task=task)
    assert record["test"]["score"] > 0.6  # the pictures are noise


def test_absent_and_damaged_files_are_told(folder: Path) -> None:
    with pytest.raises(UserError, match=r"Free Spoken Digit Dataset is not on this machine; put"):
        SPOKEN_DIGITS.load(None)
    path = folder / "fsdd" / "fsdd.npz"
    whole = path.read_bytes()
    for content in (whole[:1000], b"nothing", b""):
        path.write_bytes(content)
        with pytest.raises(UserError, match="cannot be read as recordings"):
            LOAD(folder)
    objects: Any = np.array([{}], dtype=object)
    np.savez(path, samples=objects, offsets=objects, digit=objects, speaker=objects)
    with pytest.raises(UserError, match="cannot be read as recordings"):  # never unpickled
        LOAD(folder)


@pytest.mark.parametrize(
    "changed",
    [
        {"digit": np.zeros(2**20, np.uint8)},
        {"digit": np.zeros((2, 2), np.uint8)},
        {"digit": np.zeros(3, np.float32)},
        {"offsets": np.array([0, 5, 5, 9])},
        {"offsets": np.array([0, 5, 7, 10**6])},
        {"offsets": np.array([0, 5, 3, 9], np.uint64)},
        {"speaker": np.zeros(2, "U5")},
    ],
)
def test_arrays_that_do_not_fit_one_another_are_told(tmp_path: Path, changed: Any) -> None:
    arrays = {
        "samples": np.ones(9, np.int16),
        "offsets": np.array([0, 5, 7, 9]),
        "digit": np.zeros(3, np.uint8),
        "speaker": np.zeros(3, "U5"),
    }
    np.savez_compressed(tmp_path / "fsdd.npz", **(arrays | changed))
    with pytest.raises(UserError, match="its arrays do not match"):
        read(tmp_path / "fsdd.npz")


def test_the_summary_says_who_speaks_where() -> None:
    assert "four of the six speakers for training" in SPOKEN_DIGITS.summary
    assert len(NAMES) == len(set(NAMES)) == 6


@pytest.mark.skipif(REAL is None, reason="BEYONDPROP_DATA names no folder of data")
def test_the_true_digits() -> None:
    data: Data = SPOKEN_DIGITS.load(Path(str(REAL)))
    assert [len(part) for part in data.parts.values()] == [2000, 500, 500]
    inputs, targets = data.test.batch(slice(None))
    assert targets.bincount().tolist() == [50] * 10
    assert all(x.isfinite().all() for x in inputs.values())
    assert SPOKEN_DIGITS.model()(**data.train.batch(slice(3))[0]).shape == (3, 10)
