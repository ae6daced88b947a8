"""Tasks one after another: streams, the matrix, and each method against its definition."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from beyondprop import rules, slots
from beyondprop.continual import (
    METHODS,
    Matrix,
    Reservoir,
    Stream,
    domains,
    genres,
    learn,
    learn_together,
    make,
    pairs_of,
    permuted,
    split_classes,
)
from beyondprop.continual.learning import Lessons, among, begun, one, scored
from beyondprop.continual.methods import fisher
from beyondprop.continual.methods.base import Learning
from beyondprop.continual.methods.consolidation import ElasticConsolidation, ElasticLearner
from beyondprop.continual.methods.distillation import DistillingLearner, WithoutForgetting
from beyondprop.continual.methods.intelligence import IntelligentLearner, SynapticIntelligence
from beyondprop.continual.methods.replay import DarkLearner, DarkReplay, Replay
from beyondprop.continual.methods.selections import Selections
from beyondprop.engine.attach import attach
from beyondprop.errors import UserError
from beyondprop.pieces.training import Recipe
from beyondprop.tasks import Data, Split, Task, find
from beyondprop.tasks.order import order
from tests.reference.continual import (
    dark_loss,
    fisher_of_linear,
    intelligence,
    softmax_gradient,
    transfer,
)

DIGITS = find("digits-mlp")
SCORES = st.lists(st.floats(0, 1), min_size=4, max_size=4)


def few(data: Data, count: int = 300) -> Data:
    return data.mapped(lambda part: part.some(torch.arange(min(count, len(part)))))


@pytest.fixture(scope="module")
def data() -> Data:
    return few(DIGITS.load(None))


def sgd(parameters: Any, rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, rate)


def linear(inputs: int = 3, classes: int = 4) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inputs, classes, bias=False).double()


def batch(seed: int, count: int = 6, inputs: int = 3, classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, inputs, generator=generator, dtype=torch.float64)
    return x, torch.randint(classes, (count,), generator=generator)


def learning(model: nn.Module) -> Learning:
    return Learning(model, F.cross_entropy, 6, 0)


def test_classes_come_in_turn(data: Data) -> None:
    stream = split_classes(data, pairs_of(data))
    assert [each.classes for each in stream.experiences] == [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
    for each in stream.experiences:
        for part in each.data.parts.values():
            assert set(part.batch(slice(0, len(part)))[1].tolist()) == set(each.classes)
    sizes = [len(each.data.train) for each in stream.experiences]
    assert sum(sizes) == len(data.train)


def test_no_class_is_left_out_of_pairs(data: Data) -> None:
    def of(count: int) -> list[tuple[int, ...]]:
        names = tuple(map(str, range(count)))
        return pairs_of(
            replace(data.mapped(lambda _: Split(torch.zeros(2, 1), torch.arange(2))), classes=names)
        )

    assert of(4) == [(0, 1), (2, 3)]
    assert of(5) == [(0, 1), (2, 3, 4)]
    assert of(3) == [(0, 1, 2)]


def test_orders_are_others_and_keep_the_numbers(data: Data) -> None:
    stream = permuted(data, 3)
    first, second = (each.data.test.batch(slice(0, 5))[0] for each in stream.experiences[:2])
    assert not torch.equal(first, second)
    assert torch.equal(first.flatten(1).sort(1).values, second.flatten(1).sort(1).values)
    again = permuted(data, 3).experiences[1].data.test.batch(slice(0, 5))[0]
    assert torch.equal(second, again)


def test_streams_that_make_no_sense_are_refused(data: Data) -> None:
    with pytest.raises(UserError, match="two groups"):
        split_classes(data, [(0, 1), (1, 2)])
    with pytest.raises(UserError, match="no class 12"):
        split_classes(data, [(0, 1), (12,)])
    with pytest.raises(UserError, match="two experiences"):
        split_classes(data, [(0, 1)])
    with pytest.raises(UserError, match="different names"):
        domains("twice", [data, data])
    with pytest.raises(UserError, match="no classes"):
        split_classes(replace(data, classes=()), [(0,), (1,)])
    _, targets = data.test.batch(slice(0, len(data.test)))
    few_kinds = replace(data, test=data.test.some((targets < 2).nonzero().flatten()))
    with pytest.raises(UserError, match=r"the test part of .* has no samples of the classes 2, 3"):
        split_classes(few_kinds, [(0, 1), (2, 3)])
    words = Split(torch.zeros(4, 5, dtype=torch.int64), torch.zeros(4, 5, dtype=torch.int64))
    with pytest.raises(UserError, match="each position of words"):
        permuted(Data("words", words, words, words), 2)


def test_measures_of_a_matrix_made_by_hand() -> None:
    matrix = Matrix.of([0.1, 0.2, 0.3], [[0.9, 0.2, 0.4], [0.95, 0.8, 0.4], [0.5, 0.6, 0.7]])
    assert matrix.average == pytest.approx(0.6)
    assert matrix.learned == pytest.approx(0.8)
    assert matrix.forgetting == pytest.approx((0.45 + 0.2) / 2)
    assert matrix.backward_transfer == pytest.approx((-0.4 - 0.2) / 2)
    assert matrix.forward_transfer == pytest.approx((0.0 + 0.1) / 2)
    with pytest.raises(UserError, match="square"):
        Matrix.of([0.1, 0.2], [[0.9, 0.2]])


@given(before=SCORES, rows=st.lists(SCORES, min_size=4, max_size=4))
def test_measures_of_any_matrix(before: list[float], rows: list[list[float]]) -> None:
    matrix = Matrix.of(before, rows)
    for name, value in transfer(before, rows).items():
        assert getattr(matrix, name) == pytest.approx(value, abs=1e-12)
    assert matrix.forgetting >= -matrix.backward_transfer - 1e-12


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(1, 7), min_size=1, max_size=8), size=st.integers(1, 9))
def test_a_reservoir_holds_samples_that_were_seen(sizes: list[int], size: int) -> None:
    memory = Reservoir(size, torch.Generator().manual_seed(0))
    seen = 0
    for count in sizes:
        new = torch.arange(seen, seen + count)
        memory.add(inputs=new, targets=new)
        seen += count
    assert len(memory) == min(size, seen)
    drawn = memory.draw(size)
    assert torch.equal(drawn["inputs"], drawn["targets"])
    assert len(set(drawn["inputs"].tolist())) == len(drawn["inputs"]) == len(memory)
    assert memory.bits == 2 * 64 * size


def test_every_seen_sample_is_equally_likely_kept() -> None:
    hits = torch.zeros(20)
    for seed in range(600):
        memory = Reservoir(5, torch.Generator().manual_seed(seed))
        memory.add(x=torch.arange(20))
        hits[memory.rows["x"]] += 1
    assert (hits / 600 - 0.25).abs().max() < 0.08  # 4.5 standard deviations


def test_the_fisher_information_of_a_linear_model() -> None:
    model, (x, y) = linear(), batch(1, 40)
    found = fisher(model, Split(x.repeat(400, 1), y.repeat(400)), 16_000, 0)["weight"]
    wanted = fisher_of_linear(model.weight.detach(), x)
    assert ((found - wanted).abs() < 0.06 * wanted + 1e-3).all()


def test_consolidation_of_a_linear_model_by_hand() -> None:
    model, (x, y) = linear(), batch(1)
    learner = ElasticConsolidation(strength=3.0).start(learning(model))
    assert isinstance(learner, ElasticLearner)
    anchor, weight = torch.zeros(4, 3).double(), model.weight.detach().clone()
    importance = torch.rand(4, 3, generator=torch.Generator().manual_seed(2)).double()
    learner.importance, learner.anchor = {"weight": importance}, {"weight": anchor}
    with_rule = attach(model, rules.make("backprop"))
    loss = learner.differentiate(with_rule, x, y)
    expected = softmax_gradient(weight, x, y) + 3.0 * importance * (weight - anchor)
    torch.testing.assert_close(model.weight.grad, expected, rtol=0, atol=1e-12)
    plain = F.cross_entropy(x @ weight.T, y) + 1.5 * (importance * weight.square()).sum()
    assert loss.item() == pytest.approx(plain.item(), abs=1e-12)
    assert learner.bits == 2 * 64 * 12


def test_importance_of_earlier_experiences_decays() -> None:
    model = linear()
    x, y = batch(1, 30)
    part = Data("rows", Split(x, y), Split(x, y), Split(x, y))
    experience = domains("d", [part, replace(part, name="again")]).experiences[0]
    learner = ElasticConsolidation(decay=0.5).start(learning(model))
    assert isinstance(learner, ElasticLearner)
    learner.end(experience)
    first = learner.importance["weight"].clone()
    learner.end(experience)
    torch.testing.assert_close(learner.importance["weight"], 1.5 * first, rtol=0, atol=1e-12)


def test_synaptic_intelligence_follows_the_path() -> None:
    model, steps = linear(), [batch(seed) for seed in range(3)]
    x, y = steps[0]
    part = Data("rows", Split(x, y), Split(x, y), Split(x, y))
    experience = domains("d", [part, replace(part, name="again")]).experiences[0]
    learner = SynapticIntelligence(strength=0.7, damping=0.01).start(learning(model))
    assert isinstance(learner, IntelligentLearner)
    handle, optimizer = attach(model, rules.make("backprop")), sgd(model.parameters(), 0.3)
    learner.begin(experience)
    starts, gradients = [], []
    for inputs, targets in steps:
        starts.append(model.weight.detach().clone())
        optimizer.zero_grad()
        learner.differentiate(handle, inputs, targets)
        gradients.append(softmax_gradient(starts[-1], inputs, targets))
        optimizer.step()
    end = model.weight.detach().clone()
    learner.end(experience)
    wanted = intelligence(starts, gradients, end, 0.01)
    torch.testing.assert_close(learner.importance["weight"], wanted, rtol=0, atol=1e-12)
    learner.begin(experience)
    with torch.no_grad():
        model.weight += 0.1
    optimizer.zero_grad()
    learner.differentiate(handle, x, y)
    pulled = softmax_gradient(end + 0.1, x, y) + 2 * 0.7 * wanted * 0.1
    torch.testing.assert_close(model.weight.grad, pulled, rtol=0, atol=1e-12)


def test_dark_replay_by_its_formula() -> None:
    model = linear()
    learner = DarkReplay(size=5, alpha=0.4, beta=0.9).start(learning(model))
    assert isinstance(learner, DarkLearner)
    handle = attach(model, rules.make("backprop"))
    x, y = batch(1)
    learner.differentiate(handle, x, y)
    kept = learner.memory.rows
    rows = [int((x == each).all(1).nonzero()[0]) for each in kept["inputs"]]
    assert torch.equal(kept["targets"], y[rows])
    torch.testing.assert_close(kept["logits"], (x @ model.weight.T)[rows].detach())
    with torch.no_grad():
        model.weight += 0.2
    state = learner.memory.generator.get_state()
    first, second = learner.memory.draw(6), learner.memory.draw(6)
    assert not torch.equal(first["inputs"], second["inputs"])  # two draws
    learner.memory.generator.set_state(state)
    new, targets = batch(2)
    found = learner.differentiate(handle, new, targets)
    with torch.no_grad():
        outputs = [each @ model.weight.T for each in (new, first["inputs"], second["inputs"])]
    wanted = dark_loss(
        outputs[0], targets, outputs[1], first["logits"], outputs[2], second["targets"], 0.4, 0.9
    )
    assert found.item() == pytest.approx(wanted, abs=1e-12)


def test_what_was_said_is_learned_without_forgetting() -> None:
    model, (x, y) = linear(), batch(1)
    learner = WithoutForgetting(strength=0.8, temperature=2.0).start(learning(model))
    assert isinstance(learner, DistillingLearner)
    part = Data("rows", Split(x, y), Split(x, y), Split(x, y), tuple("abcd"))
    learner.end(split_classes(part, [(0, 2), (1, 3)]).experiences[0])
    before = model.weight.detach().clone()
    with torch.no_grad():
        model.weight -= 0.3 * torch.arange(12).view(4, 3) / 12
    found = learner.differentiate(attach(model, rules.make("backprop")), x, y)
    out, said = x @ model.weight.detach().T, x @ before.T
    own, old = out[:, [0, 2]] / 2, said[:, [0, 2]] / 2
    soft = -(old.softmax(1) * own.log_softmax(1)).sum(1).mean()
    assert found.item() == pytest.approx((F.cross_entropy(out, y) + 0.8 * soft).item(), abs=1e-12)
    assert learner.bits == 64 * 12


def rows_task(model: Any, targets: Tensor, loss: Any = F.cross_entropy) -> tuple[Task, Stream]:
    """A task of 17 rows, and a stream of them and of their negatives."""
    x = torch.randn(17, 3, generator=torch.Generator().manual_seed(0))
    parts = [Split(sign * x, targets) for sign in (1, -1)]
    first, second = (
        Data(name, *[part] * 3) for name, part in zip(("one", "other"), parts, strict=True)
    )
    task = Task(
        name="rows",
        summary="rows",
        load=lambda _: first,
        model=model,
        loss=loss,
        metric=lambda out, _: -out.square().mean().item(),
    )
    return task, domains("rows", [first, second])


@pytest.mark.parametrize("method", ["ewc", "no-forgetting"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_methods_of_classes_refuse_numbers(method: str, outputs: int) -> None:
    task, stream = rows_task(lambda: nn.Linear(3, outputs), torch.zeros(17, outputs), F.mse_loss)
    with pytest.raises(UserError, match=f"'{method}' requires a classification"):
        learn(stream, task, make(method), Recipe(epochs=1))
    for other in ("replay", "dark-replay", "si"):
        assert learn(stream, task, make(other), Recipe(epochs=1)).matrix.rows


def test_no_batch_is_of_a_single_sample() -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))

    task, stream = rows_task(network, torch.arange(17) % 2)
    found = learn(stream, task, make("plain"), Recipe(epochs=1, batch_size=16))
    assert len(found.matrix.rows) == 2


def test_samples_come_in_the_order_of_every_run() -> None:
    split = Split(torch.arange(17)[:, None], torch.arange(17))
    handle = attach(linear(), rules.make("backprop"))
    recipe = Recipe(batch_size=6, seed=3)
    lessons = Lessons(handle, begun(DIGITS, make("plain"), recipe), split, recipe)
    for epoch in range(2):
        found = torch.cat([targets for _, targets in lessons.batches(epoch)])
        assert torch.equal(found, order(3, epoch, 17))


def test_a_slot_machine_is_taught_by_its_earlier_self(data: Data) -> None:
    def converted() -> nn.Module:
        model = DIGITS.model()
        slots.convert(model, 4)
        return model

    stream = split_classes(data, [(0, 1), (2, 3)])
    recipe = replace(RECIPE, epochs=1, optimizer=sgd, learning_rate=0.2)
    found = learn(stream, replace(DIGITS, model=converted), make("no-forgetting"), recipe)
    assert len(found.matrix.rows) == 2


RECIPE = Recipe(epochs=6, batch_size=16, learning_rate=5e-3)


def test_replay_forgets_less_than_the_floor_and_no_more_than_the_ceiling(data: Data) -> None:
    stream = split_classes(data, [(0, 1), (2, 3), (4, 5)])
    floor = learn(stream, DIGITS, make("plain"), RECIPE)
    assert floor.matrix.average < 0.45  # the last pair alone
    assert floor.matrix.forgetting > 0.8
    assert floor.bits == 0
    kept = learn(stream, DIGITS, Replay(size=60), RECIPE)
    assert kept.matrix.average > floor.matrix.average + 0.25
    assert kept.bits == 60 * (64 * 32 + 64)
    top = learn_together(stream, DIGITS, RECIPE)
    assert sum(top) / 3 > kept.matrix.average


def test_selections_forget_nothing(data: Data) -> None:
    stream = split_classes(data, [(0, 1), (2, 3), (4, 5)], told=True)
    recipe = replace(RECIPE, optimizer=sgd, learning_rate=0.2)
    found = learn(stream, DIGITS, Selections(8), recipe)
    rows = found.matrix.rows
    assert all(rows[i][j] == rows[j][j] for j in range(3) for i in range(j, 3))
    assert found.matrix.forgetting == 0
    assert found.matrix.average > 0.9
    assert found.bits > 0


def test_selections_are_inferred_where_nobody_tells(data: Data) -> None:
    stream = split_classes(data, [(0, 1), (2, 3)])
    recipe = replace(RECIPE, optimizer=sgd, learning_rate=0.2)
    alone = learn(stream, DIGITS, Selections(8), recipe)
    grouped = learn(stream, DIGITS, Selections(8, together=50), recipe)
    assert 0.5 < alone.matrix.average <= grouped.matrix.average
    assert alone.matrix.average < 1.0


@pytest.mark.parametrize("rule", ["backprop", "dfa", "fa", "dgl", "drtp"])
@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_works_with_every_kind_of_rule(data: Data, rule: str, method: str) -> None:
    stream = split_classes(data, [(0, 1), (2, 3)])
    recipe = replace(RECIPE, epochs=8, learning_rate=1e-2, rule=rules.make(rule))
    if method == "slots":  # choosing needs larger steps than ordinary weights
        recipe = replace(recipe, optimizer=sgd, learning_rate=0.2)
    found = learn(stream, DIGITS, make(method), recipe)
    assert found.matrix.rows[0][0] > 0.7
    again = learn(stream, DIGITS, make(method), recipe)
    assert again == found


def test_generators_are_left_as_they_were(data: Data) -> None:
    stream, before = split_classes(data, [(0, 1), (2, 3)]), torch.get_rng_state()
    learn(stream, DIGITS, make("dark-replay"), replace(RECIPE, epochs=1))
    assert torch.equal(before, torch.get_rng_state())


def test_a_told_experience_has_its_own_classes_alone(data: Data) -> None:
    out = among(torch.tensor([[3.0, 2.0, 1.0]]), (1, 2))
    assert out.tolist() == [[-torch.inf, 2.0, 1.0]]
    told = split_classes(data, [(0, 1), (2, 3)], told=True)
    learner = begun(DIGITS, make("plain"), RECIPE)
    for each in told.experiences:
        one(learner, each.data.train, DIGITS, RECIPE, "", _quiet())
    first = told.experiences[0]
    assert scored(learner, first, True, DIGITS) > scored(learner, first, False, DIGITS)


def _quiet() -> Any:
    from rich.progress import Progress

    return Progress(disable=True)


def test_a_slot_machine_is_not_held_by_its_weights(data: Data) -> None:
    def converted() -> nn.Module:
        model = DIGITS.model()
        slots.convert(model, 4)
        return model

    stream = split_classes(data, [(0, 1), (2, 3)])
    task = replace(DIGITS, model=converted)
    for name in ("ewc", "si"):
        with pytest.raises(UserError, match=r"slot machine are fixed"):
            learn(stream, task, make(name), RECIPE)


def test_domains_share_their_classes(data: Data) -> None:
    noisy = Split(data.train.batch(slice(0, 100))[0] * -1, data.train.batch(slice(0, 100))[1])
    other = replace(data, name="negative", train=noisy)
    stream: Stream = domains("signs", [data, other])
    task: Task = DIGITS
    found = learn(stream, task, make("no-forgetting"), replace(RECIPE, epochs=1))
    assert len(found.matrix.rows) == 2


def test_genres_are_domains_of_one_language(tmp_path: Path) -> None:
    (tmp_path / "first.txt").write_text("abcab " * 400)
    (tmp_path / "second.txt").write_text("cxxbyc " * 400)
    stream, task = genres(
        tmp_path, ("first", "second"), length=16, windows=20, layers=1, width=16, heads=2
    )
    assert [each.name for each in stream.experiences] == ["first", "second"]
    assert len(stream.experiences[0].data.train) == 20
    recipe = Recipe(epochs=6, batch_size=4, learning_rate=1e-2)
    matrix = learn(stream, task, make("plain"), recipe).matrix
    assert matrix.rows[0][0] > matrix.before[0] + 1  # bits
    assert matrix.forgetting > 0.5
    kept = learn(stream, task, Replay(size=20), recipe).matrix
    assert kept.forgetting < matrix.forgetting / 2
    with pytest.raises(UserError, match=r"no text third\.txt or third\.txt\.gz"):
        genres(tmp_path, ("first", "third"))
