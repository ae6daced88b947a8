"""What is captured of a teacher: on disk, in parts, again, and streamed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from beyondprop._torch.pytrees import replaced
from beyondprop.errors import UserError
from beyondprop.files import StorageError
from beyondprop.neighbourhoods import Cache, Streamed, calls, capture, split
from beyondprop.neighbourhoods.activations import Activations
from beyondprop.neighbourhoods.capture import Part, captured

EXACT = Cache(dtype=None)


def chain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Linear(4, 2)).eval()


def batches(count: int = 5, size: int = 6) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(size, 3, generator=generator) for _ in range(count)]


def rows(found: Activations, size: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return all inputs and outputs, one below another."""
    every = list(found.batches(size, seed))
    return (
        torch.cat([call.inputs[0] for call in every]),
        torch.cat([call.outputs[0] for call in every]),
    )


def sorted_rows(x: Tensor) -> Tensor:
    return x[x[:, 0].argsort()]


@pytest.mark.parametrize("shard_mib", [1e-5, 1e-4, 64.0])
def test_every_sample_is_there_once_in_every_pass(tmp_path: Path, shard_mib: float) -> None:
    model, data = chain(), batches()
    wanted = split(model, ["0", "2"])
    found = capture(model, wanted, data, tmp_path, Cache(None, shard_mib=shard_mib))
    assert list(found) == ["0", "2"]
    for seed in range(3):
        x, y = rows(found["2"], 4, seed)
        assert torch.equal(sorted_rows(x), sorted_rows(model[:2](torch.cat(data))))
        torch.testing.assert_close(y, model[2](x))
    assert [call.rows for call in found["2"].batches(4, 0)] == [4] * 6 + [3] * 2
    assert not torch.equal(rows(found["2"], 4, 0)[0], rows(found["2"], 4, 1)[0])
    assert torch.equal(rows(found["2"], 4, 1)[0], rows(found["2"], 4, 1)[0])


def test_half_precision_is_taken_back_to_the_teachers(tmp_path: Path) -> None:
    model, data = chain(), batches()
    found = capture(model, split(model, ["2"]), data, tmp_path)["2"]
    x, y = rows(found)
    assert (x.dtype, y.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(model[2](x), y, rtol=2e-3, atol=2e-3)
    assert not torch.equal(sorted_rows(x), sorted_rows(model[:2](torch.cat(data))))


def test_streamed_calls_are_those_of_each_batch() -> None:
    model, data = chain(), batches()
    (wanted,) = split(model, ["2"])
    streamed = list(Streamed(model, wanted, data).batches(1, 0))
    assert len(streamed) == 5
    for batch, found in zip(data, streamed, strict=True):
        assert torch.equal(found.output, calls(model, [wanted], batch)["2"].output)
    with pytest.raises(UserError, match="can't be iterated repeatedly"):
        list(Streamed(model, wanted, iter(())).batches(1, 0))


def test_a_second_capture_reads_what_is_there(tmp_path: Path) -> None:
    model, data = chain(), batches()
    first = capture(model, split(model, ["0", "2"]), data, tmp_path, EXACT)
    ran: list[int] = []
    model[2].register_forward_hook(lambda *_: ran.append(1))
    capture(model, split(model, ["0", "2"]), data, tmp_path, EXACT)
    checks = len(ran)
    shutil.rmtree(tmp_path / "0")
    again = capture(model, split(model, ["0", "2"]), data, tmp_path, EXACT)
    assert len(ran) == 2 * checks  # no batch runs on behind the missing one
    for name in ("0", "2"):
        assert torch.equal(rows(first[name])[0], rows(again[name])[0])
    other = capture(model, split(model, ["2"]), batches(4), tmp_path, EXACT)
    before = rows(other["2"])[0]
    assert len(before) == 24
    with torch.no_grad():
        model[0].weight += 1
    changed = capture(model, split(model, ["2"]), batches(4), tmp_path, EXACT)
    assert not torch.equal(rows(changed["2"])[0], before)


def test_a_cache_that_is_full_holds_the_first_samples(tmp_path: Path) -> None:
    model, data = chain(), batches()
    room = 20 * (5 + 4) * 4 / 2**30
    found = capture(model, split(model, ["2"]), data, tmp_path, Cache(None, gib=room))
    x, _ = rows(found["2"])
    assert torch.equal(sorted_rows(x), sorted_rows(model[:2](torch.cat(data)[:20])))


def test_what_cannot_be_captured_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, wanted = chain(), split(chain(), ["2"])
    with pytest.raises(UserError, match="the data gave no batch"):
        capture(model, wanted, [], tmp_path)
    with pytest.raises(UserError, match="which can't be iterated repeatedly"):
        capture(model, wanted, iter(batches()), tmp_path)
    with pytest.raises(UserError, match=r"of one sample take .* but the cache has"):
        capture(model, wanted, batches(), tmp_path, Cache(gib=1e-9))
    with pytest.raises(
        UserError,
        match=r"too large for torch.float16: .* Cache\(dtype=torch.bf",
    ):
        capture(model, split(model, ["0"]), [1e6 * (x + 9) for x in batches()], tmp_path / "large")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(UserError, match=r"has 0.00 GiB free, and the activations need 0.00 GiB"):
        capture(model, wanted, batches(), tmp_path / "full")


@pytest.mark.parametrize("wrong", [{"gib": 0}, {"shard_mib": -1}, {"dtype": torch.int8}])
def test_a_cache_of_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"of Cache must be a number above 0|a cache stores real"):
        Cache(**wrong)


def test_a_damaged_shard_is_told(tmp_path: Path) -> None:
    model = chain()
    found = capture(model, split(model, ["2"]), batches(), tmp_path)["2"]
    (file,) = (tmp_path / "2").glob("*.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(StorageError, match=r"the content of .* has changed: delete"):
        rows(found)
    file.unlink()
    with pytest.raises(StorageError, match="cannot read"):
        rows(found)


class Attending(nn.Module):
    """Adds a mask as Hugging Face's encoders do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.out = Masked(), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.zeros(len(x), 1, 3).masked_fill(x[:, None] > 1, torch.finfo(x.dtype).min)
        out: Tensor = self.out(self.inner(x, mask))
        return out


class Masked(nn.Module):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return (x[:, None] * x[:, :, None] + mask).softmax(-1).sum(1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_masks_that_are_added_are_kept_as_they_are(tmp_path: Path, dtype: torch.dtype) -> None:
    model = Attending().eval()
    data = [torch.zeros(4, 3), *batches()]  # in the first batch nothing is masked
    found = capture(model, split(model, ["inner"]), data, tmp_path, Cache(dtype))["inner"]
    masks = torch.cat([call.inputs[1] for call in found.batches(4, 0)])
    expected = calls(model, split(model, ["inner"]), torch.cat(data))["inner"].inputs[1]
    assert (masks == torch.finfo(torch.float32).min).sum() == (expected < 0).sum() > 0
    stored = {each.dtype for shard in range(len(found.shards)) for each in found.shard(shard)}
    assert stored == {dtype, torch.float32}


def test_activations_come_back_on_the_teachers_device(tmp_path: Path) -> None:
    model = chain()
    found = capture(model, split(model, ["2"]), batches(), tmp_path)["2"]
    sample = replaced(found.layout.sample, lambda each: each.to("meta"))
    there = replace(found, layout=replace(found.layout, sample=sample))
    for call in there.batches(4, 0):
        assert {each.device.type for each in (*call.inputs, *call.outputs)} == {"meta"}


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def test_training_and_validation_data_share_the_room(tmp_path: Path) -> None:
    model, wanted = chain(), split(chain(), ["2"])
    room = 20 * (5 + 4) * 4 / 2**30
    parts = [
        Part("data", batches(5), tmp_path / "a"),
        Part("validation data", batches(3), tmp_path / "b"),
    ]
    taught, judged = captured(model, wanted, parts, Cache(None, gib=room))
    assert (sum(taught["2"].shards), sum(judged["2"].shards)) == (11, 9)
    with pytest.raises(UserError, match="the validation data gave no batch"):
        captured(model, wanted, [parts[0], Part("validation data", [], tmp_path)], Cache())


def test_calls_of_an_earlier_capture_are_deleted(tmp_path: Path) -> None:
    model = chain()
    many = Cache(None, shard_mib=1e-4)
    capture(model, split(model, ["0", "2"]), batches(5), tmp_path, many)
    assert len(files(tmp_path)) > 8
    (tmp_path / "2" / "mine.txt").write_text("mine")
    found = capture(model, split(model, ["0"]), batches(2), tmp_path, many)["0"]
    assert len(files(tmp_path)) == len(found.shards)
    assert [each.name for each in (tmp_path / "2").iterdir()] == ["mine.txt"]


def test_the_disk_is_looked_at_before_the_teacher_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, wanted = chain(), split(chain(), ["2"])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match=r"or store no activations with distil\(streamed=True"):
        capture(model, wanted, batches(), tmp_path, Cache(None, shard_mib=1e-5))
    assert not files(tmp_path)
