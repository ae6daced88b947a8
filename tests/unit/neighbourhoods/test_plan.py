"""What a distillation would take, said before it begins."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from beyondprop.errors import UserError
from beyondprop.neighbourhoods import Cache, Recipe, make, plan, split
from tests.unit.neighbourhoods.pieces import Linear, Refusing, Same, batches, teacher
from tests.unit.neighbourhoods.test_distil import CANDIDATES, RECIPE, distilled


def test_a_plan_is_what_is_done(tmp_path: Path) -> None:
    model, cache = teacher(), Cache(None)
    before = {name: each.clone() for name, each in model.state_dict().items()}
    held = batches(3, seed=2)
    found = plan(
        model, split(model, ["0", "1"]), batches(), CANDIDATES, RECIPE, cache, validation=held
    )
    library = distilled(tmp_path)
    named = [(each.neighbourhood, each.candidate) for each in found.students]
    assert named == [(name, label) for name in "01" for label in ("same", "fresh", "line")]
    for each in found.students:
        assert each.cost is not None
        record = library.students[each.neighbourhood][each.candidate].record
        assert each.cost.parameters == record["cost"]["parameters"]
        assert each.seconds > 0
    assert found.seconds == sum(each.seconds for each in found.students)
    assert (found.samples, found.whole) == (8 * 16, 8 * 16)
    parts = ("activations", "validation")
    shards = [file for part in parts for file in (tmp_path / part).rglob("*.safetensors")]
    written = sum(file.stat().st_size for file in shards)
    assert found.bytes <= written <= 1.2 * found.bytes
    assert found.teacher["0"].parameters == 3 * 16 + 16 + 16 * 4 + 4
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())


def test_what_cannot_be_built_has_a_reason_and_a_full_cache_a_part() -> None:
    model = teacher()
    room = 40 * (4 + 4) * 4 / 2**30
    candidates = {"line": Linear(), "refusing": Refusing(), "heads": make("fewer-heads")}
    found = plan(model, split(model, ["1"]), batches(), candidates, Recipe(), Cache(None, gib=room))
    line, refusing, heads = found.students
    assert line.reason == ""
    assert "there is no such student" in refusing.reason
    assert refusing.cost is None
    assert heads.reason
    assert (found.samples, found.whole) == (40, 8 * 16)


def test_a_plan_of_one_student_names_it() -> None:
    model = teacher()
    (one,) = plan(model, split(model, ["1"]), batches(), {"same": Same()}).students
    assert one.neighbourhood == "1"


def test_a_plan_knows_the_steps_at_which_training_ends() -> None:
    recipe = Recipe(epochs=3, batch_size=16)
    assert recipe.total(8) == 24
    assert replace(recipe, steps=11).total(8) == 11
    assert replace(recipe, steps=11).epochs_of(8) == [8, 3]
    model = teacher()
    given = (model, split(model, ["1"]), batches(), {"same": Same()})
    long, short = (plan(*given, replace(recipe, epochs=100, steps=each)) for each in (None, 1))
    assert short.seconds < long.seconds / 10


def test_a_plan_knows_the_disk_and_what_is_streamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = teacher()
    given = (model, split(model, ["1"]), batches(), {"same": Same()})
    streamed = plan(*given, validation=batches(2), streamed=True, folder=tmp_path)
    assert (streamed.bytes, streamed.samples) == (0, 8 * 16)
    assert streamed.students[0].seconds > 0
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    plan(*given, streamed=True, folder=tmp_path)
    with pytest.raises(UserError, match="GiB free, and the activations need"):
        plan(*given, folder=tmp_path)
    with pytest.raises(UserError, match="leave out cache or streamed"):
        plan(*given, cache=Cache(), streamed=True)
