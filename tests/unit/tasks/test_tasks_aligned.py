"""Files of CMU's multimodal SDK, made up as its `deploy` writes them."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from beyondprop.errors import UserError, install
from beyondprop.experiment import RunSpec, train
from beyondprop.modalities import MultimodalNetwork
from beyondprop.tasks import Split, Task, find, from_aligned, negative_mae
from beyondprop.tasks.multimodal.csd import read

h5py = pytest.importorskip("h5py")

LABELS = "Opinion Segment Labels"
VIDEOS = [f"vid{number}" for number in range(8)]
FOLDS = {"train": VIDEOS[:5], "validation": VIDEOS[5:6], "test": VIDEOS[6:]}
SEGMENTS = [f"{video}[{number}]" for video in VIDEOS for number in range(4)]


def put(path: Path, root: str, segments: dict[str, Any]) -> None:
    """Write a computational sequence."""
    with h5py.File(path, "w") as file:
        group = file.create_group(root)
        data = group.create_group("data")
        for name, features in segments.items():
            segment = data.create_group(name)
            segment.create_dataset("features", data=features)
            segment.create_dataset("intervals", data=np.zeros((len(features), 2)))
        metadata = group.create_group("metadata")
        metadata.create_dataset("root name", (1,), dtype=h5py.special_dtype(vlen=str))
        metadata["root name"][0] = f'"{root}"'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Words, sounds and a sentiment that is the mean of the words' first feature."""
    where = tmp_path / "mosi"
    where.mkdir()
    generator = np.random.default_rng(0)
    words = {s: generator.normal(3, 2, (2 + i % 5, 3)) for i, s in enumerate(SEGMENTS)}
    sounds = {s: generator.normal(0, 1, (len(words[s]), 2)) for s in SEGMENTS}
    sounds[SEGMENTS[1]][0, 1] = -np.inf  # as COVAREP has them
    labels = {s: np.array([[x[:, 0].mean(), float(x[0, 1] > 3)]]) for s, x in words.items()}
    put(where / "glove_vectors.csd", "glove_vectors", words)
    put(where / "OpenFace_2.0.csd", "OpenFace 2", sounds)
    put(where / f"{LABELS}.csd", LABELS, labels)
    for fold, videos in FOLDS.items():
        (where / f"{fold}.txt").write_text("\n".join(videos) + "\n")
    return where


def parts(task: Task) -> list[Split]:
    found = [each for each in task.load(None).parts.values() if isinstance(each, Split)]
    assert len(found) == 3
    return found


def test_segments_lie_in_the_folds_of_their_videos(folder: Path) -> None:
    task = from_aligned(folder, LABELS, length=4)
    assert task.name == "mosi"
    assert task.summary == f"{LABELS} of mosi, from OpenFace_2_0, glove_vectors"
    train_, validation, test = parts(task)
    assert [len(each) for each in (train_, validation, test)] == [20, 4, 8]
    frames, lengths = train_.inputs["glove_vectors"]
    assert frames.shape == (20, 4, 3)
    assert lengths[:5].tolist() == [2, 3, 4, 4, 4]  # of 2, 3, 4, 5 and 6
    inside = torch.arange(4) < lengths[:, None]
    assert not frames[~inside].any()
    torch.testing.assert_close(frames[inside].mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(frames[inside].std(0, correction=0), torch.ones(3))
    assert all(x.isfinite().all() for x, _ in train_.inputs.values())
    assert train_.targets.shape == (20, 2)
    assert train_.targets.dtype == torch.float32


def test_a_sentiment_is_learned(folder: Path, tmp_path: Path) -> None:
    task = from_aligned(folder, LABELS, columns=[0], epochs=60, learning_rate=0.01)
    spec = RunSpec(rule="backprop", measures=())
    record = train(spec, tmp_path / "run", task=task)
    assert record["task"]["metric"] == "negative mean absolute error"
    constant = replace(task, epochs=1, learning_rate=1e-9)
    untrained = train(spec, tmp_path / "other", task=constant)
    assert record["test"]["score"] > 0.5 * untrained["test"]["score"]  # less than half the error


def test_a_spec_names_it(folder: Path) -> None:
    spec = {
        "task": "beyondprop.tasks:from_aligned",
        "path": str(folder),
        "labels": LABELS,
        "columns": [1],
        "kind": "classes",
        "modalities": ["glove_vectors"],
        "name": "words",
    }
    task = find(spec)
    (inputs, targets), data = task.load(None).train.batch(slice(5)), task.load(None)
    assert (task.name, list(inputs), data.classes) == ("words", ["glove_vectors"], ("0", "1"))
    assert targets.dtype == torch.int64
    assert task.model()(**inputs).shape == (5, 2)
    assert task.metric_name == "accuracy"


def test_labels_and_classes_in_columns(folder: Path) -> None:
    labels, classes = (from_aligned(folder, LABELS, kind=kind) for kind in ("labels", "classes"))
    marks, chosen = (each.load(None).train.batch(slice(None))[1] for each in (labels, classes))
    assert marks.dtype == torch.bool
    assert labels.metric_name == "macro-F1"
    numbers = read(folder / f"{LABELS}.csd")
    whole = torch.cat([numbers[s] for s in sorted(SEGMENTS)][:20])
    assert torch.equal(marks, whole > 0)
    assert torch.equal(chosen, whole.argmax(1))


def test_a_segment_without_a_modality_is_marked(folder: Path) -> None:
    with h5py.File(folder / "glove_vectors.csd", "a") as file:
        del file["glove_vectors"]["data"][SEGMENTS[0]]
    task = from_aligned(folder, LABELS, columns=[0])
    train_, validation, _ = parts(task)
    assert train_.inputs["present"].tolist() == [[True, False], *[[True, True]] * 19]
    assert validation.inputs["present"].all()
    model = task.model()
    assert isinstance(model, MultimodalNetwork)
    assert model.trust(**train_.inputs)[0].tolist() == [1, 0]
    assert task.features is not None
    assert task.features(train_.inputs).shape == (20, 5)


def test_a_segment_without_a_label_is_left_out(folder: Path) -> None:
    with h5py.File(folder / f"{LABELS}.csd", "a") as file:
        del file[LABELS]["data"][SEGMENTS[0]]
        file[LABELS]["data"][SEGMENTS[1]]["features"][0, 0] = np.nan
    assert [len(each) for each in parts(from_aligned(folder, LABELS))] == [18, 4, 8]


def test_folds_are_given_in_place_of_files(folder: Path) -> None:
    folds = {"train": VIDEOS[:2], "validation": VIDEOS[2:4], "test": VIDEOS[4:6]}
    assert [len(each) for each in parts(from_aligned(folder, LABELS, folds=folds))] == [8, 8, 8]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": "Sentiment"}, "has no Sentiment.csd; it has OpenFace_2.0, Opinion"),
        ({"modalities": ["faces"]}, "has no faces.csd"),
        ({"modalities": []}, "one modality or more"),
        ({"columns": [2]}, "has columns 0 to 1, and no 2"),
        ({"columns": [0], "kind": "classes"}, 'use kind="values"'),
        ({"folds": {"train": VIDEOS}}, "folds are train, validation, test, not train"),
        ({"folds": {**FOLDS, "test": VIDEOS[:1]}}, "video vid0 is in train and in test"),
        ({"folds": {**FOLDS, "test": ["vid9"]}}, "no labelled segment of the test split's"),
        ({"epoch": 1}, "a task has no epoch"),
    ],
)
def test_what_cannot_be_used_is_told(folder: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        from_aligned(folder, **({"labels": LABELS} | given))
    assert "\n" not in str(raised.value)


def test_files_of_another_kind_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = {s: np.array([[b"word"]]) for s in SEGMENTS}
    put(folder / "words.csd", "words", words)
    with pytest.raises(UserError, match="no features that are numbers: leave this file out"):
        from_aligned(folder, LABELS)
    put(folder / "words.csd", "words", {"a": np.zeros((2, 3)), "b": np.zeros((2, 4))})
    with pytest.raises(UserError, match="no segments of one width"):
        from_aligned(folder, LABELS)
    (folder / "words.csd").write_bytes(b"no HDF5")
    with pytest.raises(UserError, match="is not a readable HDF5 file"):
        from_aligned(folder, LABELS)
    with h5py.File(folder / "words.csd", "w") as file:
        file.create_dataset("data", data=np.zeros(3))
    with pytest.raises(UserError, match="is not a computational sequence"):
        from_aligned(folder, LABELS)
    (folder / "words.csd").unlink()
    with pytest.raises(UserError, match="leave out data="):
        from_aligned(folder, LABELS).load(folder)
    (folder / "test.txt").unlink()
    with pytest.raises(UserError, match=r"test\.txt cannot be read"):
        from_aligned(folder, LABELS)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=re.escape(f"need h5py: {install('modalities')}")):
        read(folder / "words.csd")


def test_negative_mae() -> None:
    outputs: Tensor = torch.tensor([[1.0], [2.0]])
    assert negative_mae(outputs, torch.tensor([0.0, 4.0])) == -1.5
    with pytest.raises(UserError, match="one output for each target"):
        negative_mae(outputs, torch.zeros(3))
