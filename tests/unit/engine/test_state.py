"""Learned feedback: who holds it, who saves it, and what keeps it from learning unseen."""

import copy

import pytest
import torch
import torch.nn.functional as F
from tests import internals
from torch import nn

import beyondprop as bp
from beyondprop.measure import alignment
from beyondprop.projections import Redrawn

LEARNED = {"wm": [], "kp": [(8, 6), (6, 6), (4, 6)], "dkp": [(4, 6), (4, 6)], "ebd": []}
RULES = {
    "wm": lambda: bp.WeightMirror(decay=0.2, samples=8),
    "kp": bp.KolenPollack,
    "dkp": bp.DirectKolenPollack,
    "ebd": lambda: bp.ErrorBroadcastDecorrelation(forgetting=0.8, entropy=0.1),
    "brsf": bp.BatchRandomSignSymmetry,
}
STATEFUL = ["wm", "kp", "dkp", "ebd"]


def net(seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    layers = [nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 4)]
    return nn.Sequential(*layers).to(dtype)


def batches(count, dtype=torch.float32):
    draw = torch.Generator().manual_seed(5)
    return [
        (
            torch.randn(9, 8, generator=draw, dtype=dtype),
            torch.randint(0, 4, (9,), generator=draw),
        )
        for _ in range(count)
    ]


def attached(name, seed=0):
    model = net(seed)
    handle = bp.attach(model, RULES[name]())
    every = [*model.parameters(), *handle.parameters()]
    return model, handle, torch.optim.SGD(every, lr=0.1, momentum=0.9, weight_decay=0.01)


def step(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def state_of(handle):
    return {name: tensor.clone() for name, tensor in handle.state_dict().items()}


CLASSIFIER, SIMILARITY = [(4, 6), (4,)], [(6, 6), (6,)]
DECODER = [(120, 6), (120,), (8, 120), (8,)]
LEARNED = {
    "kp": [(6, 8), (6, 6), (4, 6)],
    "dkp": [(4, 6), (4, 6)],
    "dgl": 2 * CLASSIFIER,
    "lfg": 2 * CLASSIFIER,
    "sim": 2 * SIMILARITY,
    "predsim": 2 * [*CLASSIFIER, *SIMILARITY],
    "dtp": [(6, 6), (6,)],
    "infopro": 2 * [*DECODER, *SIMILARITY, *CLASSIFIER],  # its auxiliary layer is as wide
}
"""Shapes of learned tensors other than the model's own parameters."""


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


@pytest.mark.parametrize("name", [name for name in bp.rules.RULES if name != "ff"])
def test_parameters_are_the_feedback_that_learns_by_gradients(name):
    model = net()
    handle = bp.attach(model, bp.rules.make(name))
    before = handle.parameters()
    with handle.targets(torch.zeros(9, dtype=torch.long)):
        model(batches(1)[0][0])
    shapes = LEARNED.get(name, [])
    assert [tuple(p.shape) for p in handle.parameters()] == shapes
    assert all(a is b for a, b in zip(before, handle.parameters(), strict=True))
    assert not {id(p) for p in handle.parameters()} & {id(p) for p in model.parameters()}
    assert list(model.state_dict()) == list(net().state_dict())
    noted = any("feedback that learns" in note for note in handle.report.notes)
    assert noted == bool(shapes)


@pytest.mark.parametrize("name", STATEFUL)
@pytest.mark.parametrize("when", [0, 1, 3])
def test_a_fresh_attachment_continues_bit_for_bit(name, when):
    model, handle, optimizer = attached(name)
    given = batches(6)
    for x, y in given[:when]:
        step(model, optimizer, x, y)
    saved = copy.deepcopy((model.state_dict(), handle.state_dict(), optimizer.state_dict()))
    expected = [step(model, optimizer, x, y) for x, y in given[when:]]

    other, fresh, again = attached(name, seed=1)
    other.load_state_dict(saved[0])
    fresh.load_state_dict(saved[1])
    again.load_state_dict(saved[2])
    assert_same(saved[1], fresh.state_dict())
    assert [step(other, again, x, y) for x, y in given[when:]] == expected
    assert_same(model.state_dict(), other.state_dict())
    assert_same(handle.state_dict(), fresh.state_dict())
    assert int(fresh.state_dict()["passes"]) == 6


@pytest.mark.parametrize("name", STATEFUL)
def test_without_the_state_it_does_not_continue_so(name):
    """A check of the test above: the model's own state is not all there is."""
    model, handle, optimizer = attached(name)
    given = batches(6)
    for x, y in given[:3]:
        step(model, optimizer, x, y)
    saved = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    for x, y in given[3:]:
        step(model, optimizer, x, y)
    other, fresh, again = attached(name, seed=1)
    other.load_state_dict(saved[0])
    if name not in ("kp", "dkp"):
        again.load_state_dict(saved[1])
    for x, y in given[3:]:
        step(other, again, x, y)
    assert not torch.equal(model[0].weight, other[0].weight)
    assert handle.state_dict().keys() == fresh.state_dict().keys()


def test_rules_without_state_save_nothing_and_those_of_passes_save_their_count():
    for name in ("backprop", "frozen"):
        handle = bp.attach(net(), bp.rules.make(name))
        assert handle.state_dict() == {}
        handle.load_state_dict({})
    for name in ("fa", "usf", "frsf", "dfa", "drtp"):
        handle = bp.attach(net(), bp.rules.make(name))
        assert set(handle.state_dict()) <= {"projections"}
    model, handle, optimizer = attached("brsf")
    for x, y in batches(2):
        step(model, optimizer, x, y)
    assert handle.state_dict().keys() == {"passes", "projections"}
    assert handle.state_dict()["passes"] == 2
    saved = copy.deepcopy((model.state_dict(), handle.state_dict(), optimizer.state_dict()))
    step(model, optimizer, *batches(3)[2])
    other, fresh, again = attached("brsf", seed=1)
    other.load_state_dict(saved[0])
    fresh.load_state_dict(saved[1])
    again.load_state_dict(saved[2])
    step(other, again, *batches(3)[2])
    assert_same(model.state_dict(), other.state_dict())


@pytest.mark.parametrize("name", STATEFUL)
def test_a_state_of_another_attachment_is_refused(name):
    model, handle, optimizer = attached(name)
    for x, y in batches(1):
        step(model, optimizer, x, y)
    before = state_of(handle)
    others = {
        "none": {},
        "another rule": {"passes": torch.tensor(3)},
        "a part": dict(list(before.items())[:-1]),
        "more": {**before, "9.weight.feedback": torch.zeros(2)},
        "uncounted": {key: value for key, value in before.items() if key != "passes"},
    }
    for state in others.values():
        with pytest.raises(bp.UserError, match="saved by another attachment") as caught:
            handle.load_state_dict(state)
        assert "\n" not in str(caught.value)
        assert_same(handle.state_dict(), before)
    with pytest.raises(bp.UserError, match=r"by another attachment|other feedback|was saved"):
        bp.attach(net(), bp.FeedbackAlignment()).load_state_dict(before)


@pytest.mark.parametrize("name", STATEFUL)
def test_a_state_of_another_size_is_refused(name):
    model, handle, optimizer = attached(name)
    step(model, optimizer, *batches(1)[0])
    state = state_of(handle)
    wrong = next(key for key in state if key.endswith("feedback"))
    state[wrong] = torch.zeros(3, 3)
    with pytest.raises(
        bp.UserError, match=rf"'{wrong}' was saved with shape \(3, 3\), but here it has shape"
    ):
        handle.load_state_dict(state)


@pytest.mark.parametrize("name", ["kp", "dkp"])
def test_loading_keeps_the_tensors_that_an_optimizer_holds(name):
    model, handle, optimizer = attached(name)
    step(model, optimizer, *batches(1)[0])
    held = handle.parameters()
    handle.load_state_dict(state_of(handle))
    assert all(a is b for a, b in zip(held, handle.parameters(), strict=True))


@pytest.mark.parametrize("name", STATEFUL)
def test_what_was_saved_does_not_move_with_what_was_loaded(name):
    model, handle, optimizer = attached(name)
    step(model, optimizer, *batches(1)[0])
    saved = state_of(handle)
    handle.load_state_dict(saved)
    before = copy.deepcopy(saved)
    for x, y in batches(2):
        step(model, optimizer, x, y)
    assert_same(saved, before)
    assert any(not torch.equal(handle.state_dict()[key], saved[key]) for key in saved)


@pytest.mark.parametrize("name", ["kp", "dkp"])
def test_an_optimizer_without_the_feedback_is_noticed_in_the_second_step(name):
    model = net()
    bp.attach(model, RULES[name]())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    given = batches(2)
    step(model, optimizer, *given[0])
    with pytest.raises(bp.UserError, match=r"\*handle.parameters\(\)\] and call its zero_grad"):
        step(model, optimizer, *given[1])


@pytest.mark.parametrize("name", ["kp", "dkp"])
def test_gradients_of_the_feedback_are_cleared_with_those_of_the_weights(name):
    model, handle, optimizer = attached(name)
    given = batches(2)
    F.cross_entropy(model(given[0][0]), given[0][1]).backward()
    optimizer.step()
    assert any(p.grad is not None for p in handle.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in handle.parameters())
    loss = F.cross_entropy(model(given[1][0]), given[1][1])
    model.zero_grad(set_to_none=False)
    loss.backward()
    once = [p.grad.clone() for p in handle.parameters()]
    loss = F.cross_entropy(model(given[1][0]), given[1][1])
    model.zero_grad(set_to_none=False)  # between the passes
    loss.backward()
    torch.testing.assert_close([p.grad for p in handle.parameters()], once)
    handle.remove()
    assert "zero_grad" not in vars(model)


@pytest.mark.parametrize("name", ["kp", "dkp"])
def test_gradients_accumulate_as_those_of_the_weights(name):
    model, handle, optimizer = attached(name)
    (x, y), (x2, y2) = batches(2)
    optimizer.zero_grad()
    for part in ((x, y), (x2, y2)):
        (F.cross_entropy(model(part[0]), part[1]) / 2).backward()
    parts = [p.grad.clone() for p in handle.parameters() if p.grad is not None]
    optimizer.zero_grad()
    F.cross_entropy(model(torch.cat([x, x2])), torch.cat([y, y2])).backward()
    whole = [p.grad for p in handle.parameters() if p.grad is not None]
    assert len(whole) == len(parts) == (3 if name == "kp" else 2)
    torch.testing.assert_close(parts, whole)


def test_the_gradients_of_weight_and_feedback_are_equal_and_apart():
    model, handle, optimizer = attached("kp")
    x, y = batches(1)[0]
    F.cross_entropy(model(x), y).backward()
    pairs = [(m.weight, internals.at_weight(m).state["feedback"]) for m in model[2::2]]
    for weight, feedback in pairs:
        assert torch.equal(weight.grad, feedback.grad)
        assert weight.grad.data_ptr() != feedback.grad.data_ptr()
        before = weight.grad.clone()
        feedback.grad.zero_()
        assert torch.equal(weight.grad, before)
    # Clipping scales in place: one tensor twice would be scaled twice.
    step(model, optimizer, x, y)
    every = [*model.parameters(), *handle.parameters()]
    nn.utils.clip_grad_norm_(every, 1e-3)
    for weight, feedback in pairs:
        torch.testing.assert_close(weight.grad, feedback.grad)


@pytest.mark.parametrize("inputs", [True, False])
def test_feedback_beside_frozen_weights_does_not_learn(inputs):
    model, handle, optimizer = attached("kp")
    model[2].weight.requires_grad_(False)
    frozen = internals.at_weight(model[2]).state["feedback"]
    before = frozen.detach().clone()
    x, y = batches(1)[0]
    for _ in range(3):
        step(model, optimizer, x.requires_grad_(inputs), y)
    assert torch.equal(frozen, before)
    assert frozen.grad is None
    learned = internals.at_weight(model[4]).state["feedback"]
    assert learned.grad is not None
    assert len(handle.parameters()) == 3


def test_the_matrix_of_a_frozen_block_does_not_learn():
    model, handle, optimizer = attached("dkp")
    model[2].requires_grad_(False)
    x, y = batches(1)[0]
    for _ in range(2):
        step(model, optimizer, x, y)
    first, second = internals.holders(handle)["0"], internals.holders(handle)["2"]
    assert first.state["feedback"].grad is not None
    assert isinstance(second.state["feedback"], nn.parameter.UninitializedParameter)


@pytest.mark.parametrize("name", [*STATEFUL, "brsf"])
@pytest.mark.parametrize("training", [True, False])
def test_alignment_leaves_no_trace(name, training):
    """Neither in the feedback nor in what comes after, also between a forward and its backward."""
    (model, handle, optimizer), (other, twin, again) = attached(name), attached(name)
    x, y = batches(1)[0]
    for each in ((model, optimizer), (other, again)):
        step(*each, x, y)
    model.train(training)
    before = state_of(handle)
    gradients = [None if p.grad is None else p.grad.clone() for p in handle.parameters()]
    optimizer.zero_grad()
    for p, gradient in zip(handle.parameters(), gradients, strict=True):
        p.grad = gradient
    for p, like in zip(model.parameters(), other.parameters(), strict=True):
        p.grad = like.grad.clone()
    assert len(alignment(handle, x, y, F.cross_entropy)) == 3
    assert_same(handle.state_dict(), before)
    for p, gradient in zip(handle.parameters(), gradients, strict=True):
        assert (p.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(p.grad, gradient)
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    alignment(handle, x, y, F.cross_entropy)
    loss.backward()
    optimizer.step()
    step(other, again, x, y)
    assert_same(model.state_dict(), other.state_dict())
    assert_same(handle.state_dict(), twin.state_dict())


@pytest.mark.parametrize("name", STATEFUL)
def test_alignment_before_the_first_step_leaves_no_trace(name):
    (model, handle, optimizer), (other, twin, again) = attached(name), attached(name)
    x, y = batches(1)[0]
    alignment(handle, x, y, F.cross_entropy)
    step(model, optimizer, x, y)
    step(other, again, x, y)
    assert_same(model.state_dict(), other.state_dict())
    assert_same(handle.state_dict(), twin.state_dict())


def test_only_taught_passes_in_training_mode_count():
    model, handle, _ = attached("brsf")
    x = batches(1)[0][0]
    model(x)
    with torch.no_grad():
        model(x)
    with bp.exact_gradients(model):
        model(x)
    model.eval()(x)
    assert internals.passes(handle) == 1
    model.train()(x)
    assert internals.passes(handle) == 2


@pytest.mark.parametrize("name", STATEFUL)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_dtype_may_change_after_attaching(name, dtype):
    model, handle, _ = attached(name)
    model.to(dtype)
    optimizer = torch.optim.SGD([*model.parameters(), *handle.parameters()], lr=0.1)
    for x, y in batches(3, dtype):
        step(model, optimizer, x, y)
    assert all(p.dtype is dtype and p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", STATEFUL)
def test_the_feedback_has_the_dtype_of_the_layer(name):
    model = net(dtype=torch.float64)
    handle = bp.attach(model, RULES[name]())
    optimizer = torch.optim.SGD([*model.parameters(), *handle.parameters()], lr=0.1)
    for x, y in batches(2, torch.float64):
        step(model, optimizer, x, y)
    kept = [t for key, t in handle.state_dict().items() if "feedback" in key]
    assert len(kept) in (2, 3)
    assert all(tensor.dtype is torch.float64 for tensor in kept)


def test_correlations_are_followed_precisely_in_half_precision_too():
    """At the usual forgetting factor, bfloat16 would round each batch's part away."""
    model = net(dtype=torch.bfloat16)
    handle = bp.attach(model, bp.ErrorBroadcastDecorrelation())
    x, y = batches(1, torch.bfloat16)[0]
    F.cross_entropy(model(x), y).backward()
    before = state_of(handle)
    for _ in range(20):
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()
    assert before["0.feedback"].dtype is torch.float32
    assert not torch.equal(before["0.feedback"], handle.state_dict()["0.feedback"])


@pytest.mark.parametrize("name", STATEFUL)
def test_feedback_left_behind_on_another_device_is_refused(name):
    """As when a model is moved after rules were attached; no accelerator is needed to see it."""
    model, _, optimizer = attached(name)
    (x, y), *_ = batches(1)
    step(model, optimizer, x, y)
    model.to("meta")
    with pytest.raises(bp.UserError, match="is on cpu, its layer on meta: move the model before"):
        model(x.to("meta"))


def test_removing_and_attaching_again_begins_anew():
    model, handle, optimizer = attached("kp")
    begun = state_of(handle)
    for x, y in batches(2):
        step(model, optimizer, x, y)
    handle.remove()
    model.load_state_dict(net().state_dict())
    assert_same(bp.attach(model, bp.KolenPollack()).state_dict(), begun)


@pytest.mark.parametrize("name", ["kp", "dkp"])
@pytest.mark.parametrize("order", ["clear first", "clear between", "clear last", "fill with zeros"])
def test_an_optimizer_without_the_feedback_is_noticed_in_every_order(name, order):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 4))
    bp.attach(model, bp.rules.make(name))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train():
        for x, y in batches(3):
            if order == "clear first":
                optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            if order == "clear between":
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if order in ("clear last", "fill with zeros"):
                optimizer.zero_grad(set_to_none=order == "clear last")

    with pytest.raises(bp.UserError, match="no optimizer clears its gradient"):
        train()


@pytest.mark.parametrize("name", ["kp", "dkp"])
@pytest.mark.parametrize("between", [False, True])
def test_an_optimizer_with_the_feedback_is_left_alone(name, between):
    model, _, optimizer = attached(name)
    for x, y in batches(4):
        if not between:
            optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        if between:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("objective", [bp.InfoPro(), bp.CrossEntropy(bp.AugLocal())])
@pytest.mark.parametrize("between", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_units_that_do_not_learn_yet_raise_no_alarm(objective, between, seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 4))
    handle = bp.attach(model, bp.LocalLoss(objective, projection=Redrawn(seed)))
    with handle.targets(torch.zeros(4, dtype=torch.int64)):
        model(torch.randn(4, 8))
    optimizer = torch.optim.SGD([*model.parameters(), *handle.parameters()], lr=0.1)
    first = handle.parameters()[0]
    with torch.no_grad():
        first.copy_(-first.abs())  # the inputs are positive, so the head's first layer is dead
    before = first.clone()
    for x, y in batches(4):
        if not between:
            optimizer.zero_grad()
        with handle.targets(y):
            loss = F.cross_entropy(model(x), y)
        if between:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.equal(first, before)


class Spare(nn.Module):
    """Has a parameter before the others that its forward never uses."""

    def __init__(self):
        super().__init__()
        self.spare = nn.Linear(8, 8)
        self.used = nn.Linear(8, 6)

    def forward(self, x):
        return torch.tanh(self.used(x))


def test_a_parameter_that_is_never_used_raises_no_alarm():
    model = nn.Sequential(Spare(), nn.Linear(6, 4))
    handle = bp.attach(model, bp.DirectKolenPollack())
    optimizer = torch.optim.SGD([*model.parameters(), *handle.parameters()], lr=0.1)
    for x, y in batches(3):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


class InPlace(nn.Module):
    """Works in place on what a block hands on, by a function."""

    def __init__(self, scale):
        super().__init__()
        self.a, self.b, self.scale = nn.Linear(8, 6), nn.Linear(6, 4), scale

    def forward(self, x):
        z = self.a(x)
        return self.b(z.mul_(3.0) if self.scale else z * 3.0)


@pytest.mark.parametrize(
    "rule", [bp.DirectKolenPollack(), bp.ErrorBroadcastDecorrelation(forgetting=0.5)]
)
def test_in_place_work_behind_a_block_changes_nothing(rule):
    found = []
    for scale in (False, True):
        torch.manual_seed(0)
        model = InPlace(scale)
        handle = bp.attach(model, rule, blocks=["a", "b"])
        x, y = batches(1)[0]
        F.cross_entropy(model(x), y).backward()
        found.append([p.grad for p in (*model.parameters(), *handle.parameters())])
    torch.testing.assert_close(*found)


def test_a_mirror_is_no_random_matrix_in_evaluation_mode():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 4)).eval()
    bp.attach(model, bp.WeightMirror(decay=0.01))
    model(torch.randn(3, 8))
    matrix = internals.feedback(model[2])
    cosine = F.cosine_similarity(matrix.flatten(), model[2].weight.flatten(), 0)
    assert cosine > 0.95


@pytest.mark.parametrize(
    "made", [nn.utils.spectral_norm, lambda m: nn.utils.parametrizations.weight_norm(m)]
)
def test_weights_made_from_others(made):
    def build():
        return nn.Sequential(nn.Linear(8, 6), nn.Tanh(), made(nn.Linear(6, 4)))

    with pytest.raises(bp.UserError, match="keep"):
        bp.attach(build(), bp.KolenPollack())
    handle = bp.attach(build(), bp.KolenPollack(exact=("2",)))
    handle.model(torch.randn(3, 8)).sum().backward()


@pytest.mark.parametrize(
    "build",
    [
        lambda: bp.WeightMirror(decay=0),
        lambda: bp.WeightMirror(samples=0),
        lambda: bp.ErrorBroadcastDecorrelation(forgetting=2),
        lambda: bp.ErrorBroadcastDecorrelation(initial=0),
    ],
)
def test_settings_that_make_no_sense_are_refused(build):
    with pytest.raises(bp.UserError, match="must"):
        build()
