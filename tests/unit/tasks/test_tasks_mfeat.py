"""Digits in six views, made up; the true ones where they lie at hand."""

import gzip
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.experiment import RunSpec, train
from beyondprop.tasks import Data, Split, Task, find, informative, mfeat
from beyondprop.tasks.multimodal import MFEAT_ALL, MFEAT_CORRUPTED, MFEAT_FEW
from beyondprop.tasks.multimodal.digit_views import FEATURES, FILES, MFEAT, Views, corrupted

REAL = os.environ.get("BEYONDPROP_DATA")  # read before the tests hide it
UNCHECKED = replace(MFEAT, files=dict.fromkeys(MFEAT.files))
PER_CLASS = 150


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 digits of each class, whose first feature is the class, and the third always 7."""
    where = tmp_path_factory.mktemp("data") / "mfeat"
    where.mkdir()
    labels = np.repeat(np.arange(10), PER_CLASS)
    generator = np.random.default_rng(0)
    for name, width in FEATURES.items():
        table = generator.standard_normal((len(labels), width)).round(2)
        table[:, 0], table[:, 2] = labels + 100, 7
        rows = [",".join(map(str, [*row, label])) for row, label in zip(table, labels, strict=True)]
        head = ",".join(map(str, [*range(width), 0]))
        text = "\r\n".join([head, *rows, ""])
        (where / f"{FILES[name]}.gz").write_bytes(gzip.compress(text.encode()))
    return where.parent


def made(task: Task, folder: Path) -> Data:
    load: Any = task.load
    return replace(load, source=UNCHECKED)(folder)


def inputs_of(data: Data, part: str = "train") -> dict[str, Tensor]:
    found: dict[str, Tensor] = data.parts[part].batch(slice(None))[0]
    return found


def test_views_are_standardised_by_the_training_part(folder: Path) -> None:
    data = made(MFEAT_ALL, folder)
    assert [len(part) for part in data.parts.values()] == [300, 200, 1000]
    x, y = data.train.batch(slice(None))
    assert {name: each.shape[1] for name, each in x.items()} == FEATURES
    assert y.bincount().tolist() == [30] * 10
    for each in x.values():
        assert each.dtype == torch.float32
        torch.testing.assert_close(each.mean(0), torch.zeros(each.shape[1]), atol=1e-4, rtol=0)
        assert not each[:, 2].any()  # a constant is zero, not a division by it
        assert each[:, 0].std(correction=0).item() == pytest.approx(1, abs=1e-4)
    first = [inputs_of(data)[name][:, 0] for name in x]
    assert all(torch.allclose(first[0], each) for each in first)  # rows belong together
    assert informative(data.train) is None


def test_each_seed_draws_training_and_validation_and_none_the_test(folder: Path) -> None:
    data = made(MFEAT_FEW, folder)
    assert MFEAT_FEW.split is not None
    one, again, other = (MFEAT_FEW.split(data, seed) for seed in (0, 0, 1))
    assert [len(part) for part in one.parts.values()] == [100, 200, 1000]
    assert one.train.batch(slice(None))[1].bincount().tolist() == [10] * 10
    assert torch.equal(inputs_of(one)["fourier"], inputs_of(again)["fourier"])
    assert not torch.equal(inputs_of(one)["fourier"], inputs_of(other)["fourier"])
    # The test digits are the same, on the scale of this seed's training part.
    before, after = (inputs_of(each, "test")["karhunen"][:, 1] for each in (data, one))
    assert torch.corrcoef(torch.stack([before, after]))[0, 1].item() == pytest.approx(1, abs=1e-5)
    x = inputs_of(one)["zernike"]
    torch.testing.assert_close(x.mean(0), torch.zeros(47), atol=1e-4, rtol=0)
    assert all(each.isfinite().all() for each in inputs_of(one, "test").values())


def test_one_view_of_each_digit_is_noise_and_a_note_says_which(folder: Path) -> None:
    clean, noisy = made(mfeat(MFEAT_VIEWS), folder), made(MFEAT_CORRUPTED, folder)
    for part in clean.parts:
        said = informative(noisy.parts[part])
        assert said is not None
        assert torch.equal((~said).sum(1), torch.ones(len(said)).long())
        assert (~said).float().mean(0).tolist() == pytest.approx([0.25] * 4, abs=0.1)
        x, wrong = inputs_of(clean, part), inputs_of(noisy, part)
        for place, name in enumerate(x):
            same = (x[name] == wrong[name]).all(1)
            assert torch.equal(same, said[:, place])
    noise = torch.cat([x[~said[:, 0]] for x, said in [told(noisy, "test")]])
    assert noise[:, 5:].mean().item() == pytest.approx(0, abs=0.02)
    assert noise[:, 5:].std().item() == pytest.approx(1, abs=0.02)


MFEAT_VIEWS = ("fourier", "karhunen", "zernike", "morphology")


def told(data: Data, part: str) -> tuple[Tensor, Tensor]:
    said = informative(data.parts[part])
    assert said is not None
    return inputs_of(data, part)["fourier"], said


def test_notes_follow_their_samples(folder: Path) -> None:
    data = made(MFEAT_CORRUPTED, folder)
    assert MFEAT_CORRUPTED.split is not None
    drawn = MFEAT_CORRUPTED.split(data, 3)
    for part in drawn.parts:
        x, said = told(drawn, part)
        # The first feature is the class in every view that is not noise.
        clear = drawn.parts[part].batch(slice(None))[1][said[:, 0]]
        firsts = x[said[:, 0], 0]
        assert len({(int(c), round(float(f), 3)) for c, f in zip(clear, firsts, strict=True)}) <= 10
    assert torch.equal(told(drawn, "test")[1], told(data, "test")[1])


def test_the_model_is_not_given_notes() -> None:
    x = {"a": torch.randn(6, 3), "b": torch.randn(6, 2)}
    data = Data("d", *[Split(x, torch.zeros(6).long())] * 3, classes=("0", "1"))
    found = corrupted(data)
    inputs, _ = found.train.batch(slice(None))
    assert set(inputs) == {"a", "b"}


def test_a_run_of_few_labels(folder: Path, tmp_path: Path) -> None:
    load = Views(MFEAT_VIEWS, source=UNCHECKED)
    task = replace(MFEAT_FEW, load=load, epochs=2)
    record = train(RunSpec(rule="dfa", data=folder, measures=()), tmp_path / "run", task=task)
    assert record["status"] == "finished"
    assert record["task"]["train"] == 100


def test_views_are_named_in_a_spec() -> None:
    spec = {"task": "beyondprop.tasks:mfeat", "views": ["morphology", "pixels"], "per_class": 5}
    task = find(spec)
    assert task.summary == "2,000 written digits in 2 views, 5 labels per class"
    outputs = task.model()(pixels=torch.randn(3, 240), morphology=torch.randn(3, 6))
    assert outputs.shape == (3, 10)
    with pytest.raises(UserError, match="no view 'sound'; there are fourier"):
        mfeat(["sound"])


def test_absent_and_changed_files_are_told(folder: Path) -> None:
    with pytest.raises(UserError, match="multiple features is not on this machine; put its files"):
        MFEAT_ALL.load(None)
    with pytest.raises(UserError, match="is damaged or belongs to another data set"):
        MFEAT_ALL.load(folder)


@pytest.mark.skipif(REAL is None, reason="BEYONDPROP_DATA names no folder of data")
def test_the_true_digits() -> None:
    data = MFEAT_ALL.load(Path(str(REAL)))
    assert [len(part) for part in data.parts.values()] == [800, 200, 1000]
    x, y = data.train.batch(slice(None))
    whole = torch.cat(list(x.values()), 1).double()
    targets = torch.eye(10, dtype=torch.float64)[y]
    gram = whole.T @ whole + 200 * torch.eye(whole.shape[1], dtype=torch.float64)
    weight = torch.linalg.solve(gram, whole.T @ targets)
    tested, labels = data.test.batch(slice(None))
    said = (torch.cat(list(tested.values()), 1).double() @ weight).argmax(1)
    assert (said == labels).double().mean().item() > 0.97
