"""Students that learn from drawn inputs, of their own and of the whole network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.progress import Progress
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.jobs import Workers
from beyondprop.neighbourhoods import (
    DRAWS,
    Cache,
    Draw,
    DrawnBatches,
    DrawnInputs,
    Gaussian,
    Library,
    Matched,
    Mixtures,
    Recipe,
    Streamed,
    Synthetic,
    calls,
    capture,
    distil,
    make,
    plan,
    split,
    teach,
)
from beyondprop.neighbourhoods.cost import forward_operations, step_operations
from beyondprop.neighbourhoods.synthetic import synthesized
from tests.unit.neighbourhoods.pieces import batches, teacher
from tests.unit.neighbourhoods.test_distil import CANDIDATES, content

QUIET = Progress(disable=True)
RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=0.01)
NOISE = DrawnInputs(Gaussian(), samples=128)


def few(count: int = 6, seed: int = 1) -> list[Tensor]:
    return [batches(1, seed)[0][:count]]


def made(own: DrawnInputs = NOISE, data: Any = None, model: nn.Module | None = None) -> Synthetic:
    whole = model or teacher()
    return synthesized(whole, split(whole, ["1"]), data or few(), own)["1"]


def rows(found: Synthetic, size: int = 16, seed: int = 0) -> tuple[Tensor, Tensor]:
    every = list(found.batches(size, seed))
    return torch.cat([each.inputs[0] for each in every]), torch.cat([each.output for each in every])


@given(samples=st.integers(1, 40), size=st.integers(1, 20), seed=st.integers(0, 2**40))
def test_a_pass_has_so_many_samples_and_the_pieces_outputs(
    samples: int, size: int, seed: int
) -> None:
    found = made(replace(NOISE, samples=samples))
    sizes = [len(each.output) for each in found.batches(size, seed)]
    assert sum(sizes) == samples
    assert len(sizes) == found.steps(size)
    assert max(sizes) - min(sizes) <= 1
    x, y = rows(found, size, seed)
    with torch.no_grad():
        torch.testing.assert_close(y, found.piece(x))
    assert not y.requires_grad


def test_a_pass_is_of_its_seed_alone() -> None:
    found, other = made(), made(data=few(5, seed=7))  # other samples of the same form
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    x, y = rows(found, seed=3)
    again = rows(other, seed=3)
    assert torch.equal(x, again[0])
    assert torch.equal(y, again[1])
    assert not torch.equal(x, rows(found, seed=4)[0])
    for changed in (replace(found, seed=1), replace(found, name="0")):
        assert not torch.equal(x, rows(changed, seed=3)[0])
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002


def test_the_digest_is_of_all_that_decides() -> None:
    known, other = made(), made(data=few(5, seed=7))
    assert known.digest == other.digest  # noise of fixed moments needs no sample
    matched = replace(NOISE, draw=Matched())
    changed = teacher()
    with torch.no_grad():
        changed[1][0].weight += 1
    found = [
        known,
        made(replace(NOISE, samples=64)),
        made(replace(NOISE, draw=Gaussian(std=2.0))),
        replace(known, seed=1),
        replace(known, name="0"),
        made(model=changed),
        made(matched),
        made(matched, data=few(5, seed=7)),
        made(replace(matched, known=3)),
    ]
    assert len({each.digest for each in found}) == len(found)
    assert made(matched).digest == made(matched).digest


def test_known_samples_are_the_first_ones() -> None:
    model, data = teacher(), batches(3)
    found = made(replace(NOISE, draw=Mixtures(), known=20), data, model)
    wanted = split(model, ["1"])
    expected = [calls(model, wanted, each)["1"].inputs[0] for each in data[:2]]
    (known,) = found.source.known
    assert torch.equal(known.samples, torch.cat(expected)[:20])


class Masked(nn.Module):
    """Takes what is real, what is whole, masks of both kinds, and a constant; writes into it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor, ids: Tensor, *, masks: dict[str, Tensor], place: Tensor) -> Tensor:
        x += 1  # in place
        hidden: Tensor = self.linear(x) + ids[:, None] + place
        return hidden.masked_fill(masks["bool"], 0) + masks["added"].clamp(min=-1)


class Around(nn.Module):
    """A model that makes them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Masked()
        self.place = nn.Parameter(torch.arange(4.0))

    def forward(self, x: Tensor) -> Tensor:
        ids = x[:, 0].mul(1e4).long()
        added = torch.zeros_like(x).masked_fill(x > 1, torch.finfo(x.dtype).min)
        masks = {"bool": x > 0, "added": added}
        out: Tensor = self.body(x.clone(), ids, masks=masks, place=self.place)
        return out


@pytest.mark.parametrize("name", DRAWS)
def test_whole_numbers_and_masks_come_from_known_samples_together(name: str) -> None:
    torch.manual_seed(2)
    model, x = Around().eval(), torch.randn(9, 4)
    wanted = split(model, ["body"])
    found = synthesized(model, wanted, [x], DrawnInputs(DRAWS[name], 50))["body"]
    seen = calls(model, wanted, x)["body"]
    (call,) = found.batches(50, 0)
    hidden, ids, constant = call.arguments[0], call.arguments[1], call.keywords["place"]
    chosen = [seen.arguments[1].tolist().index(each) for each in ids.tolist()]
    assert 3 < len(set(chosen)) <= 9
    for kind in ("bool", "added"):
        assert torch.equal(call.keywords["masks"][kind], seen.keywords["masks"][kind][chosen])
    assert torch.equal(constant, model.place)
    assert len(hidden.unique(dim=0)) == 50
    # What the piece writes into its inputs does not reach the student's.
    with torch.no_grad():
        again = model.body(
            hidden.clone(), ids, masks=dict(call.keywords["masks"]), place=model.place
        )
    assert torch.equal(call.output, again)


def distilled(folder: Path, **changes: Any) -> Library:
    model = teacher()
    given: dict[str, Any] = {
        "candidates": CANDIDATES,
        "recipe": RECIPE,
        "progress": QUIET,
        "synthetic": NOISE,
        "data": few(),
    }
    given |= changes
    parts = split(model, ["0", "1"])
    return distil(model, parts, given.pop("data"), folder, **given)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return distilled(tmp_path_factory.mktemp("drawn"))


def test_students_learn_from_noise_of_their_own(library: Library) -> None:
    for of in library.students.values():
        assert of["same"].error < 1e-3
        assert of["fresh"].record["errors"][-1] < 0.5 * of["fresh"].record["errors"][0]
        assert of["fresh"].record["steps"] == 3 * 8
    folder = library.students["0"]["same"].folder.parents[2]
    assert not [*folder.rglob("shard*")]
    assert not (folder / "activations").exists()
    model, x = teacher(), batches(3, seed=2)[0]
    merged = library.merge(model, {"0": "same", "1": "same"})
    with torch.no_grad():
        assert (merged(x) - model(x)).norm() < 0.05 * model(x).norm()


def test_students_are_judged_by_what_they_were_not_taught(library: Library) -> None:
    model = teacher()
    (part,) = split(model, ["1"])
    found = replace(made(), seed=1)
    student = library.piece(model, part, "line")
    with torch.no_grad():
        errors = [
            ((student(call.inputs[0]) - call.output).square().sum() / call.output.square().sum())
            for call in found.batches(16, 0)
        ]
    assert library.students["1"]["line"].error == pytest.approx(torch.stack(errors).mean().item())


def test_validation_data_judges_where_it_is_given(tmp_path: Path, library: Library) -> None:
    found = distilled(tmp_path, validation=batches(3, seed=2), cache=Cache(None))
    assert (tmp_path / "validation").exists()
    for name in "01":
        one, other = (each.students[name]["line"] for each in (found, library))
        assert one.record["weights_sha256"] == other.record["weights_sha256"]
        assert one.error != other.error


def test_the_teachers_piece_is_charged_to_its_students(library: Library) -> None:
    model = teacher()
    for part in library.neighbourhoods:
        piece, call = part.piece(model), library.samples[part.name]
        for label in ("same", "line"):
            student = library.piece(model, part, label).requires_grad_()
            each = step_operations(student, call) + forward_operations(piece, call)
            record = library.students[part.name][label].record
            assert record["training_operations"] == 3 * 128 * each


def test_streamed_calls_cost_a_pass_of_the_teacher_up_to_them() -> None:
    model = teacher()
    (first, second) = split(model, ["0", "1"])
    found = [Streamed(model, part, batches()).operations for part in (first, second)]
    assert found == [2 * (3 * 16 + 16 * 4), 2 * (3 * 16 + 16 * 4 + 4 * 16 + 16 * 4)]


def test_two_processes_train_the_same_and_nothing_is_done_again(
    tmp_path: Path, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    distilled(tmp_path, workers=Workers(jobs=2))
    before = content(tmp_path)
    assert before == content(library.students["0"]["same"].folder.parents[2])
    trained: list[str] = []

    def counted(*given: Any) -> Any:
        trained.append(given[-1])
        return teach(*given)

    monkeypatch.setattr("beyondprop.neighbourhoods.distillation.teach", counted)
    (tmp_path / "pieces" / "1" / "line" / "record.json").unlink()
    distilled(tmp_path)
    assert trained == ["1, line"]
    assert content(tmp_path) == before
    distilled(tmp_path, synthetic=replace(NOISE, draw=Gaussian(std=2.0)))
    assert len(trained) == 7


@dataclass(frozen=True)
class Ones(Draw):
    """Ones."""

    name: ClassVar[str] = "ones"

    def draw(self, known: Any, rows: Tensor, generator: torch.Generator) -> list[Tensor]:
        """Return them."""
        del generator
        return [torch.ones(len(rows), *each.samples.shape[1:]) for each in known]


def test_a_way_of_ones_own_is_taken() -> None:
    here = f"{__name__}:Ones"
    x, _ = rows(made(replace(NOISE, draw=DRAWS.make(here))))
    assert torch.equal(x, torch.ones(128, 4))


def test_a_plan_of_drawn_inputs_needs_no_disk(library: Library) -> None:
    model = teacher()
    data = batches()
    found = plan(
        model, split(model, ["0", "1"]), data, CANDIDATES, RECIPE, synthetic=replace(NOISE, known=9)
    )
    assert (found.samples, found.whole, found.bytes, found.drawn) == (9, 128, 0, 128)
    for each in found.students:
        assert each.cost is not None
        record = library.students[each.neighbourhood][each.candidate].record
        assert each.cost.parameters == record["cost"]["parameters"]
        assert each.seconds > 0


@pytest.mark.parametrize("name", DRAWS)
def test_batches_for_the_whole_network_are_the_same_each_time(name: str, tmp_path: Path) -> None:
    model = teacher()
    drawn = DrawnBatches(model, few()[0], DRAWS[name], samples=40, batch_size=16)
    once, again = list(drawn), list(drawn)
    assert [len(each) for each in once] == [14, 13, 13]
    assert len(drawn) == 3
    assert all(map(torch.equal, once, again))
    assert not torch.equal(once[0], next(iter(replace(drawn, seed=1))))
    wanted = split(model, ["1"])
    found = capture(model, wanted, drawn, tmp_path, Cache(None))["1"]
    x = torch.cat([each.inputs[0] for each in found.batches(16, 0)])
    with torch.no_grad():
        expected = model[0](torch.cat(once))
    assert torch.equal(x.sort(0).values, expected.sort(0).values)


class Both(nn.Module):
    """Takes class numbers and an image by name."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.table = nn.Conv2d(3, 3, 1), nn.Embedding(5, 3)

    def forward(self, *, image: Tensor, label: Tensor) -> Tensor:
        out: Tensor = self.conv(image).mean((2, 3)) + self.table(label)
        return out


def test_batches_have_the_form_of_the_known_one() -> None:
    scales = torch.tensor([1.0, 10.0, 100.0]).view(1, 3, 1, 1)
    known = {"image": torch.randn(8, 3, 4, 4) * scales, "label": torch.arange(8) % 5}
    (batch,) = DrawnBatches(Both(), known, Matched(), samples=100, batch_size=100)
    assert {name: tuple(each.shape) for name, each in batch.items()} == {
        "image": (100, 3, 4, 4),
        "label": (100,),
    }
    found = batch["image"].std((0, 2, 3)) / scales.flatten()
    torch.testing.assert_close(found, torch.ones(3), rtol=0.3, atol=0)
    assert set(batch["label"].tolist()) == {0, 1, 2, 3, 4}


def test_what_cannot_be_drawn_is_told_in_a_sentence() -> None:
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 3)).eval()
    ids = [torch.arange(4)]
    with pytest.raises(UserError, match="'0' gets no real numbers that could be drawn"):
        synthesized(model, split(model, ["0"]), ids, NOISE)
    with pytest.raises(UserError, match="the network gets no real numbers that could be drawn"):
        DrawnBatches(model, ids[0], Gaussian(), 10, 5)
    few_known = r"needs at least 2 known samples .*, not 1: give more, or draw"
    for draw in (Matched(), Mixtures()):
        with pytest.raises(UserError, match=few_known):
            DrawnBatches(teacher(), few(1)[0], draw, 10, 5)
        with pytest.raises(UserError, match=few_known):
            made(replace(NOISE, draw=draw, known=1))
    assert len(list(DrawnBatches(teacher(), few(1)[0], Gaussian(), 10, 5))) == 2
    with pytest.raises(UserError, match="at least two samples"):
        made(data=few(1))
    with pytest.raises(UserError, match="can't be iterated repeatedly"):
        made(data=iter(few()))
    with pytest.raises(UserError, match="all of one length"):
        DrawnBatches(teacher(), [torch.ones(2, 3), torch.ones(3, 3)], Gaussian(), 10, 5)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"samples": 0}, "samples of DrawnInputs must be a whole number of 1 or more"),
        ({"known": 1.5}, "known of DrawnInputs must be a whole number"),
        ({"draw": "gaussian"}, "draw of DrawnInputs must be a Draw"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        replace(NOISE, **wrong)
    with pytest.raises(UserError, match="batch_size of DrawnBatches must be a whole number"):
        DrawnBatches(teacher(), few()[0], Gaussian(), 10, 0)


def test_a_student_that_learns_nothing_costs_nothing(tmp_path: Path) -> None:
    found = distilled(tmp_path, candidates={"none": make("identity")})
    assert found.students["1"]["none"].record["training_operations"] == 0
