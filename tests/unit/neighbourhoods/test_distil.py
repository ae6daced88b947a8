"""Students of neighbourhoods: trained alone, kept, taken again, and put together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.progress import Progress
from torch import nn

import beyondprop as bp
from beyondprop.errors import UserError
from beyondprop.files import StorageError
from beyondprop.jobs import Workers
from beyondprop.neighbourhoods import (
    DISTANCES,
    Cache,
    Candidate,
    Inputs,
    Library,
    Recipe,
    Streamed,
    distil,
    heal,
    make,
    opened,
    plan,
    split,
    teach,
)
from tests.unit.neighbourhoods.pieces import Linear, Refusing, Same, batches, teacher

QUIET = Progress(disable=True)
RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=0.01)
CANDIDATES: dict[str, Candidate] = {"same": Same(), "fresh": Same(kept=False), "line": Linear()}


def distilled(folder: Path, **changes: Any) -> Library:
    model = teacher()
    given: dict[str, Any] = {
        "candidates": CANDIDATES,
        "recipe": RECIPE,
        "validation": batches(3, seed=2),
        "cache": Cache(None),
        "progress": QUIET,
    }
    return distil(model, split(model, ["0", "1"]), batches(), folder, **given | changes)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return distilled(tmp_path_factory.mktemp("distilled"))


def content(folder: Path) -> dict[str, bytes]:
    found = sorted((folder / "pieces").rglob("*.*"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_every_candidate_of_every_neighbourhood_is_trained(library: Library) -> None:
    assert {name: [*of] for name, of in library.students.items()} == {
        "0": ["same", "fresh", "line"],
        "1": ["same", "fresh", "line"],
    }
    for of in library.students.values():
        assert of["same"].error < 1e-3
        assert of["fresh"].record["errors"][-1] < of["fresh"].record["errors"][0]
        assert of["fresh"].record["steps"] == 3 * 8
        assert of["same"].record["cost"]["parameters"] > of["line"].record["cost"]["parameters"]


def test_the_error_is_the_students_on_the_validation_data(library: Library) -> None:
    model, x = teacher(), torch.cat(batches(3, seed=2))
    with torch.no_grad():
        given = model[0](x)
        (wanted,) = split(model, ["1"])
        student = library.piece(model, wanted, "line")
        expected = [
            ((student(part) - model[1](part)).square().sum() / model[1](part).square().sum()).item()
            for part in given.split(16)
        ]
    # Batches differ in their samples, so the mean of their ratios does a little.
    assert library.students["1"]["line"].error == pytest.approx(
        sum(expected) / len(expected), rel=0.1
    )


def test_students_are_put_in_the_place_of_pieces(library: Library) -> None:
    model, x = teacher(), batches()[0]
    merged = library.merge(model, {"0": "same", "1": "fresh"})
    with torch.no_grad():
        expected = model[2](
            library.piece(model, library.neighbourhoods[1], "fresh")(
                library.piece(model, library.neighbourhoods[0], "same")(x)
            )
        )
        assert torch.equal(merged(x), expected)
        assert torch.equal(library.merge(model, {})(x), model(x))
    assert not merged.training
    with pytest.raises(UserError, match="'0' has no student 'none'; it has same, fresh, line"):
        library.merge(model, {"0": "none"})
    with pytest.raises(UserError, match="there is no neighbourhood '7'"):
        library.merge(model, {"7": "same"})


def test_a_second_call_trains_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distilled(tmp_path)
    before = content(tmp_path)
    (tmp_path / "pieces" / "1" / "line" / "record.json").unlink()
    trained: list[str] = []

    def counted(*given: Any) -> Any:
        trained.append(given[-1])
        return teach(*given)

    monkeypatch.setattr("beyondprop.neighbourhoods.distillation.teach", counted)
    distilled(tmp_path)
    assert trained == ["1, line"]
    assert content(tmp_path) == before
    distilled(tmp_path, recipe=replace(RECIPE, learning_rate=0.02))
    assert len(trained) == 7
    assert content(tmp_path) != before


def test_workers_train_the_same(tmp_path: Path, library: Library) -> None:
    distilled(tmp_path, workers=Workers(jobs=2))
    (one, *_) = library.students["0"].values()
    assert content(tmp_path) == content(one.folder.parents[2])


def test_a_candidate_that_fits_nothing_is_left_out(tmp_path: Path) -> None:
    found = distilled(tmp_path, candidates={"line": Linear(), "refusing": Refusing()})
    assert [*found.students["0"]] == ["line"]
    with pytest.raises(UserError, match=r"no student could be trained .*of 1 inputs"):
        distilled(tmp_path / "none", candidates={"refusing": Refusing()})


def test_damaged_weights_are_told(tmp_path: Path) -> None:
    distilled(tmp_path)
    (tmp_path / "pieces" / "0" / "same" / "weights.safetensors").write_bytes(b"no weights")
    with pytest.raises(StorageError, match="is not what was written there: delete"):
        distilled(tmp_path)


@pytest.mark.parametrize("rule", ["dfa", "fa", "kp"])
def test_any_rule_of_errors_trains_a_piece(rule: str) -> None:
    model, data = teacher(), batches()
    (wanted,) = split(model, ["1"])
    found = Streamed(model, wanted, data)
    student = Same(kept=False).build(wanted.piece(model), next(found.batches(1, 0)))
    recipe = replace(RECIPE, rule=bp.rules.make(rule), epochs=10)
    curve = teach(student, found, recipe, QUIET, "piece")
    assert curve.errors[-1] < 0.8 * curve.errors[0]
    assert bp.attachment_of(student) is None


def test_choices_among_fixed_weights_train_a_piece() -> None:
    model, data = teacher(), batches()
    (wanted,) = split(model, ["1"])
    found = Streamed(model, wanted, data)
    student = Same(kept=False).build(wanted.piece(model), next(found.batches(1, 0)))
    bp.slots.convert(student, 8, seed=0)
    curve = teach(student, found, replace(RECIPE, epochs=10), QUIET, "piece")
    assert curve.errors[-1] < 0.9 * curve.errors[0]


RELATIVE = sorted({*DISTANCES} - {"soft-labels"})


@pytest.mark.parametrize("distance", RELATIVE)
def test_distances_are_zero_of_the_teacher_and_one_of_nothing(distance: str) -> None:
    measure, x = DISTANCES[distance], torch.randn(6, 4, 3, dtype=torch.float64)
    assert measure(x, x).item() == pytest.approx(0, abs=1e-12)
    centred = x - x.mean(0)
    assert measure(torch.zeros_like(x), centred).item() == pytest.approx(1)
    assert measure({"a": x, "b": [centred]}, {"a": x, "b": [centred]}).item() < 1e-12
    with pytest.raises(
        UserError, match="a student must return the same shapes as the teacher's piece"
    ):
        measure(x[:, :2], x)


def test_vectors_have_an_axis() -> None:
    student, target = torch.randn(2, 5, 3, 3), torch.randn(2, 5, 3, 3)
    by_place = DISTANCES.make({"distance": "relative-vectors", "axis": 1})(student, target)
    torch.testing.assert_close(by_place, slowly(student, target))
    with pytest.raises(UserError, match=r"\(2, 5, 3, 3\), has no axis 4 of vectors"):
        DISTANCES.make({"distance": "relative-vectors", "axis": 4})(student, target)


def slowly(student: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean relative error of vectors along axis 1, vector by vector."""
    places = [(b, i, j) for b in range(2) for i in range(3) for j in range(3)]
    sizes = {at: sum(float(x) ** 2 for x in target[at[0], :, at[1], at[2]]) for at in places}
    least = 0.01 * sum(sizes.values()) / len(places)
    found = [
        float((student[b, :, i, j] - target[b, :, i, j]).square().sum())
        / max(sizes[b, i, j], least)
        for b, i, j in places
    ]
    return torch.tensor(sum(found) / len(found))


@pytest.mark.parametrize("distance", RELATIVE)
def test_an_error_of_little_is_never_huge(distance: str) -> None:
    torch.manual_seed(0)
    maps = torch.randn(4, 6, 5, 5).relu()
    maps[:, :, 0] = 0  # vectors of zeros
    kind = {"distance": distance} | ({"axis": 1} if "vectors" in distance else {})
    assert DISTANCES.make(kind)(maps + 0.01, maps) < 0.25
    for teacher_ in (maps[:1], maps[:, 0, 1, 1], torch.zeros(3, 4)):
        if distance != "cosine":
            assert DISTANCES[distance](teacher_ + 0.01, teacher_) < 0.1
        assert DISTANCES[distance](teacher_ + 0.01, teacher_).isfinite()


def test_soft_labels_need_logits() -> None:
    with pytest.raises(UserError, match="soft labels need logits"):
        DISTANCES["soft-labels"](torch.randn(4), torch.randn(4))


def test_a_student_that_diverges_is_told() -> None:
    model, data = teacher(), batches()
    (wanted,) = split(model, ["1"])
    student = nn.Linear(4, 4)
    wild = replace(RECIPE, learning_rate=1e30, optimizer=torch.optim.SGD)
    with pytest.raises(UserError, match="the error of piece is no longer finite"):
        teach(student, Streamed(model, wanted, data), wild, QUIET, "piece")
    assert not student.training
    assert bp.attachment_of(student) is None


def pairs() -> list[tuple[Any, Any]]:
    return [(x, teacher()(x).argmax(1)) for x in batches(2)]


def test_a_model_that_cannot_be_healed_is_left_in_order() -> None:
    model, wild = teacher(), replace(RECIPE, learning_rate=1e30, optimizer=torch.optim.SGD)

    def cross(outputs: Any, targets: Any) -> Any:
        return nn.functional.cross_entropy(outputs, targets) * 1e30

    with pytest.raises(UserError, match="the error of healing is no longer finite"):
        heal(model, pairs(), cross, wild, QUIET)
    assert not model.training
    assert bp.attachment_of(model) is None


def test_a_frozen_teachers_merged_model_learns_as_a_whole(library: Library) -> None:
    model = teacher().requires_grad_(False)
    merged = library.merge(model, {"0": "line"})
    before = {name: each.clone() for name, each in merged.state_dict().items()}
    heal(merged, pairs(), nn.functional.cross_entropy, RECIPE)  # with bars of its own
    assert all(not torch.equal(before[name], each) for name, each in merged.state_dict().items())
    assert not any(each.requires_grad for each in model.parameters())
    with pytest.raises(UserError, match="all of the model is frozen"):
        heal(model, pairs(), nn.functional.cross_entropy)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (iter(pairs()), "the data is a list_iterator, which can't be iterated repeatedly"),
        ([], "the data gave no batch"),
    ],
)
def test_data_that_heals_nothing_is_told(data: Any, why: str) -> None:
    with pytest.raises(UserError, match=why):
        heal(teacher(), data, nn.functional.cross_entropy, RECIPE)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 1.5}, {"learning_rate": 0.0}])
def test_a_recipe_of_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="must be a"):
        Recipe(**wrong)


@pytest.mark.parametrize("rule", ["backprop", "dfa", "drtp"])
def test_a_model_that_was_put_together_is_healed_by_any_rule(rule: str, library: Library) -> None:
    model, x = teacher(), torch.cat(batches())
    classes = model(x).argmax(1)
    data = list(zip(x.split(16), classes.split(16), strict=True))
    merged = library.merge(model, {"0": "line", "1": "line"})

    def wrong() -> float:
        with torch.no_grad():
            return (merged(x).argmax(1) != classes).float().mean().item()

    before = wrong()
    recipe = replace(RECIPE, epochs=20, rule=bp.rules.make(rule))
    curve = heal(merged, data, nn.functional.cross_entropy, recipe, QUIET)
    assert (curve.steps, curve.samples) == (20 * 8, 20 * 128)
    assert wrong() < 0.7 * before
    assert not merged.training
    assert bp.attachment_of(merged) is None


@pytest.mark.foreign
def test_a_model_of_hugging_face_is_taken_apart(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"vocab_size": 30, "n_positions": 12, "n_embd": 16, "n_layer": 2, "n_head": 2}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes)).eval()
    data = [{"input_ids": torch.randint(30, (6, 8)), "use_cache": False} for _ in range(2)]
    found = distil(
        model,
        split(model, ["transformer.h.*"]),
        data,
        tmp_path,
        {name: make(name) for name in ("copy", "narrower", "fewer-heads")},
        recipe=Recipe(epochs=1),
        cache=Cache(None),
        progress=QUIET,
    )
    assert [*found.students] == ["transformer.h.0", "transformer.h.1"]
    choice = {"transformer.h.0": "narrower", "transformer.h.1": "fewer-heads"}
    with torch.no_grad():
        merged, whole = found.merge(model, choice)(**data[0]).logits, model(**data[0]).logits
    assert 0 < (merged - whole).norm() < 0.5 * whole.norm()


def test_soft_labels_are_those_of_hinton() -> None:
    student, target = torch.randn(6, 5, dtype=torch.float64), torch.randn(6, 5, dtype=torch.float64)
    p, q = (x.div(4).softmax(-1) for x in (target, student))
    expected = 16 * (p * (p / q).log()).sum(-1).mean()
    torch.testing.assert_close(DISTANCES["soft-labels"](student, target), expected)
    assert DISTANCES["soft-labels"](target, target).item() == pytest.approx(0, abs=1e-12)


def test_steps_end_a_training_early() -> None:
    model, data = teacher(), batches()
    (wanted,) = split(model, ["1"])
    recipe = replace(RECIPE, steps=11)
    curve = teach(nn.Linear(4, 4), Streamed(model, wanted, data), recipe, QUIET, "piece")
    assert (curve.steps, len(curve.errors)) == (11, 2)
    with pytest.raises(UserError, match="steps of Recipe must be a whole number"):
        Recipe(steps=0)


@pytest.mark.parametrize(
    ("candidates", "why"),
    [
        ({}, "there are no candidates"),
        ({"teacher": Same()}, "a candidate can't be labelled 'teacher'"),
        ({"l 0": Same(), "l-0": Linear()}, "the candidates 'l 0' and 'l-0' would share one folder"),
        ({"Line": Same(), "line": Linear()}, "'Line' and 'line' would share one folder"),
        ({"..": Same()}, "candidates need a name with letters or digits"),
        ({"?": Same()}, "candidates need a name with letters or digits"),
    ],
)
def test_labels_that_cannot_be_told_apart_are_refused(
    candidates: dict[str, Candidate], why: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=why):
        distilled(tmp_path, candidates=candidates)
    model = teacher()
    with pytest.raises(UserError, match=why):
        plan(model, split(model, ["0"]), batches(), candidates)


def test_neighbourhoods_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    model = nn.Sequential()
    for name in ("a b", "a-b"):
        model.add_module(name, nn.Linear(3, 3))
    with pytest.raises(
        UserError, match="the neighbourhoods 'a b' and 'a-b' would share one folder"
    ):
        distil(model.eval(), split(model, ["a*"]), batches(), tmp_path, CANDIDATES)
    with pytest.raises(UserError, match="there are no neighbourhoods"):
        distil(model, [], batches(), tmp_path, CANDIDATES)


def test_a_loader_of_labels_too_is_told_and_taken_by_its_inputs(tmp_path: Path) -> None:
    pairs, model = [(x, torch.zeros(16)) for x in batches()], teacher()
    given: dict[str, Any] = {"candidates": {"line": Linear()}, "recipe": RECIPE, "progress": QUIET}
    with pytest.raises(UserError, match=r"a tuple \(TypeError: .* as Inputs\(loader\)"):
        distil(model, split(model, ["0"]), pairs, tmp_path, **given)
    found = distil(model, split(model, ["0"]), Inputs(pairs), tmp_path, **given)
    assert found.students["0"]["line"].record["steps"] == 3 * 8
    assert len(Inputs(pairs)) == 8


@pytest.mark.filterwarnings("ignore:.*nested.*")
def test_padded_tokens_are_as_the_layers_make_them(tmp_path: Path) -> None:
    """PyTorch's fused kernels give zeros there, which no student in training does."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    model = nn.TransformerEncoder(layer, 1).eval()
    mask = torch.arange(5)[None] >= torch.tensor([5, 3, 4, 5])[:, None]
    data = [{"src": torch.randn(4, 5, 8), "src_key_padding_mask": mask} for _ in range(2)]
    made = distil(
        model,
        split(model, ["layers.0"]),
        data,
        tmp_path,
        {"same": make("copy")},
        recipe=Recipe(epochs=1, learning_rate=1e-9),
        cache=Cache(dtype=None),
        progress=Progress(disable=True),
    )
    assert made.students["layers.0"]["same"].error < 1e-6


def test_hooks_of_the_user_are_a_part_of_the_piece(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).eval()
    model[1].register_forward_pre_hook(lambda _, given: (given[0] * 2,))
    made = distil(
        model,
        split(model, ["1"]),
        [torch.randn(8, 4)],
        tmp_path,
        {"same": make("copy")},
        recipe=Recipe(epochs=1, learning_rate=1e-9),
        cache=Cache(dtype=None),
        progress=Progress(disable=True),
    )
    assert made.students["1"]["same"].error < 1e-6


def test_students_learn_from_what_is_streamed(tmp_path: Path) -> None:
    found = distilled(tmp_path, cache=None, streamed=True)
    assert found.students["0"]["same"].error < 1e-3
    assert found.students["0"]["line"].record["steps"] == 3 * 8
    assert not [*tmp_path.rglob("0*.safetensors")]
    before = content(tmp_path)
    assert content(tmp_path) == before
    model, data = teacher(), batches(7)
    again = distil(
        model,
        split(model, ["0", "1"]),
        data,
        tmp_path,
        CANDIDATES,
        recipe=RECIPE,
        progress=QUIET,
        streamed=True,
    )
    assert again.students["0"]["line"].record["steps"] == 3 * 7  # of other data, so trained again
    with pytest.raises(UserError, match="the validation data gave no batch"):
        distilled(tmp_path, cache=None, streamed=True, validation=[])
    with pytest.raises(UserError, match="leave out cache or streamed"):
        distilled(tmp_path, streamed=True)


def test_validation_data_of_an_earlier_call_takes_no_room(tmp_path: Path) -> None:
    distilled(tmp_path)
    assert [*(tmp_path / "validation").rglob("0*.safetensors")]
    distilled(tmp_path, validation=None)
    assert not [*(tmp_path / "validation").rglob("0*.safetensors")]
    with pytest.raises(UserError, match="the validation data gave no batch"):
        distilled(tmp_path, validation=[])


def test_a_library_is_opened_again_without_its_data(library: Library) -> None:
    (one, *_) = library.students["0"].values()
    folder, model, x = one.folder.parents[2], teacher(), batches()[0]
    found = opened(model, split(model, ["0", "1"]), x[:2], folder, CANDIDATES)
    choice = {"0": "line", "1": "fresh"}
    assert torch.equal(found.merge(model, choice)(x), library.merge(model, choice)(x))
    assert found.students["1"]["line"].error == library.students["1"]["line"].error
    fewer = opened(model, split(model, ["0"]), x[:2], folder, {"line": Linear(), "same": Linear()})
    assert [*fewer.students["0"]] == ["line"]  # 'same' was by another candidate
    with torch.no_grad():
        model[0][0].weight += 1
    with pytest.raises(UserError, match="has no student of this teacher"):
        opened(model, split(model, ["0"]), x[:2], folder, CANDIDATES)
