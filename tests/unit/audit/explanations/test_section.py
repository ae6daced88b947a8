import copy
import json
from dataclasses import replace

import pytest
import torch
from rich.progress import Progress
from torch import nn

from beyondprop.audit import Audited
from beyondprop.audit import explanations as ex
from beyondprop.errors import UserError
from beyondprop.tasks import TASKS, Data, Split, Task

for package in ("captum", "shapiq", "sklearn", "scipy"):
    pytest.importorskip(package)

TINY = ex.Explanations(
    samples=6, layered=3, stable=2, combined=2, pictured=1, budget=140, draws=4, moves=2, pushed=3,
    most_steps=64, test=ex.ConceptTest(sets=2, controls=3, size=8),
)  # fmt: skip


def audited(name, seed=0):
    task = TASKS.make(name)
    torch.manual_seed(seed)
    model = task.model().eval()
    return Audited("a rule", task, task.load(None), 0, lambda: copy.deepcopy(model))


def asked(of, section=TINY):
    with Progress(disable=True) as progress:
        return section.ask(of, progress)


KINDS = ("digits-mlp", "digits-slots", "digits-conv", "fashion-small-vit")


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_model_is_explained_and_nothing_is_left_behind(name):
    of = audited(name)
    model = of.build()
    of = replace(of, build=lambda: model)
    state = copy.deepcopy(model.state_dict())
    before = torch.get_rng_state()
    answer = asked(of)
    assert torch.equal(before, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert len(json.dumps(answer, allow_nan=False)) < 40_000
    assert answer["samples"] == 6
    assert set(answer["attribution"]) == {"integrated gradients", "saliency", "occlusion", "random"}
    assert set(answer["better_than_random"]) == set(answer["attribution"]) - {"random"}
    assert answer["layers"]["blocks"], answer["layers"]
    assert len(answer["interactions"]["shown"]) == 1
    sample = answer["interactions"]["shown"][0]
    assert sample["from_single"] + sample["from_pairs"] == pytest.approx(sample["whole"], abs=0.01)
    assert len(sample["pairs"]) == 120
    assert len(sample["single"]) == len(answer["interactions"]["named"]) == 16
    assert len(answer["concepts"]["pairs"]) == 100
    assert answer["verdict"].endswith(" of 6 samples.")
    assert ("picture" in sample) == (name in ("digits-conv", "fashion-small-vit"))


def test_vectors_may_be_told_to_be_images():
    answer = asked(audited("digits-mlp"), replace(TINY, image=(8, 8)))
    assert answer["interactions"]["named"][6] == "row 2, column 3"
    assert answer["interactions"]["shown"][0]["picture"]["shape"] == [8, 8]
    with pytest.raises(UserError, match="not an image of 7 x 9"):
        asked(audited("digits-mlp"), replace(TINY, image=(7, 9)))


def test_agreement_of_a_model_with_itself_and_with_another():
    one, other = audited("digits-mlp"), audited("digits-mlp", seed=1)
    same, different = TINY.beside(one, one), TINY.beside(one, other)
    assert same["same_answer"] == 1
    for name in ("integrated gradients", "saliency"):
        assert same["methods"][name]["agreement"]["mean"] == pytest.approx(1)
        assert different["methods"][name]["agreement"]["mean"] < 0.5
        assert same["methods"][name]["chance"]["mean"] < 0.9
    assert "same answer to 100% of 6 samples" in same["verdict"]
    json.dumps(different, allow_nan=False)


def table():
    """A task of a table: a number, a category of three, and ten more; the class is known by the
    number and the first category together.
    """
    generator = torch.Generator().manual_seed(0)
    number = torch.randn(400, 1, generator=generator)
    colour = torch.eye(3)[torch.randint(3, (400,), generator=generator)]
    noise = torch.randn(400, 10, generator=generator)
    x = torch.cat([number, colour, noise], 1)
    y = ((number[:, 0] > 0) & (colour[:, 0] == 1)).long()
    parts = [Split(x[i:j], y[i:j]) for i, j in ((0, 300), (300, 350), (350, 400))]
    data = Data("table", *parts, classes=("no", "yes"))

    def network():
        return nn.Sequential(nn.Linear(14, 16), nn.Tanh(), nn.Linear(16, 2))

    return Task(name="table", summary="a table", load=lambda _: data, model=network), data


def test_a_table_is_explained_by_its_variables():
    task, data = table()
    model = task.model()
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(200):
        optimizer.zero_grad()
        task.loss(model(data.train.inputs), data.train.targets).backward()
        optimizer.step()
    of = Audited("backprop", task, data, 0, lambda: copy.deepcopy(model).eval())
    answer = asked(of, replace(TINY, samples=20, combined=8, budget=4096, listed=2))
    found = answer["interactions"]
    assert found["players"] == 12
    assert found["named"][:2] == ["feature 0", "features 1 to 3"]
    singles = found["single_size"]
    assert min(singles[:2]) > max(singles[2:])
    assert max(found["pair_size"]) == found["pair_size"][0]  # of the number and the category
    joined = asked(of, replace(TINY, players=4, budget=16))["interactions"]
    assert joined["named"] == ["feature 0", "features 1 to 3", joined["named"][2], "the 9 others"]


def test_concepts_may_be_ones_own():
    of = audited("digits-mlp")
    rows = of.data.train.batch(slice(0, 20))[0]
    answer = asked(of, replace(TINY, concepts={"dark": rows * 0.2}))
    assert {each["concept"] for each in answer["concepts"]["pairs"]} == {"dark"}


def test_what_has_no_rows_is_left_out_with_its_reason():
    answer = asked(audited("digits-goodness"))
    assert answer["layers"]["left_out"]
    assert "hidden block" in answer["concepts"]["reason"]
    assert answer["verdict"]


def test_inputs_that_are_no_numbers_are_refused():
    inputs = torch.randint(5, (20, 3))
    parts = [Split(inputs, torch.arange(20) % 2)] * 3
    data = Data("words", *parts, classes=("a", "b"))
    task = Task(name="words", summary="words", load=lambda _: data, model=lambda: nn.Identity())
    with pytest.raises(UserError, match="must be one tensor of real numbers"):
        asked(Audited("a rule", task, data, 0, task.model))
    sequences = Split(torch.randn(20, 3, 4), torch.arange(20) % 2)
    data = Data("series", sequences, sequences, sequences, classes=("a", "b"))
    with pytest.raises(UserError, match="neither images"):
        asked(Audited("a rule", task, data, 0, task.model))
