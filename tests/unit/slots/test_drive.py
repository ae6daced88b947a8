"""Optimizers that move scores in the place of weights."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import beyondprop as bp
from beyondprop import slots
from tests.unit.slots.internals import moved, on_values, reels, scores_of
from tests.unit.slots.networks import OPTIMIZERS, X, Y, classifier, step, trained

torch.set_num_threads(1)


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_any_optimizer_learns_by_choosing(make):
    model = classifier()
    optimizer = slots.drive(make(model.parameters()), model)
    losses = [step(model, optimizer) for _ in range(60)]
    assert losses[-1] < 0.9 * losses[0]
    assert on_values(model)


def test_what_was_not_converted_learns_as_ever():
    model, plain = classifier(biases=True), None
    plain = copy.deepcopy(model)
    slots.freeze(plain)
    optimizer = slots.drive(torch.optim.SGD(model.parameters(), 0.1), model)
    ordinary = torch.optim.SGD([p for p in plain.parameters() if p.requires_grad], 0.1)
    step(model, optimizer)
    step(plain, ordinary)
    assert torch.equal(model[0].bias, plain[0].bias)
    assert model[0].bias.grad is not None


def test_the_optimizers_state_holds_the_scores_and_a_resumed_run_is_the_same():
    for kind in (8, slots.Reels(4, slots.Sampled())):
        for make in (OPTIMIZERS["sgd"], OPTIMIZERS["adam"]):
            model = classifier(kind=kind)
            optimizer = slots.drive(make(model.parameters()), model)
            for _ in range(3):
                step(model, optimizer)
            file = io.BytesIO()
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
            file.seek(0)
            saved = torch.load(file, weights_only=True)
            other = classifier(kind=kind)
            resumed = slots.drive(make(other.parameters()), other)
            other.load_state_dict(saved["model"])
            resumed.load_state_dict(saved["optimizer"])
            for net, opt in ((model, optimizer), (other, resumed)):
                torch.manual_seed(1)
                for _ in range(3):
                    step(net, opt)
            for a, b in zip(model.parameters(), other.parameters(), strict=True):
                assert torch.equal(a, b)


def test_a_fused_optimizer_that_leaves_a_step_out_leaves_all_out():
    model = classifier()
    made = torch.optim.SGD(model.parameters(), 0.1, weight_decay=0.5, fused=True)
    optimizer = slots.drive(made, model)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    step(model, optimizer)
    before = copy.deepcopy(optimizer.state_dict()["state"])
    scaler.scale(cross_entropy(model(X) * torch.inf, Y)).backward()
    scaler.step(optimizer)
    after = optimizer.state_dict()["state"]
    for i, state in before.items():
        assert torch.equal(after[i]["slots"]["tensor"], state["slots"]["tensor"])


def test_a_failed_step_keeps_the_scores_in_the_state():
    model, optimizer = trained()
    scores = optimizer.state_dict()["state"][0]["slots"]["tensor"].clone()

    def fail(*_):
        raise ArithmeticError

    hook = optimizer.register_step_pre_hook(fail)
    with pytest.raises(ArithmeticError):
        step(model, optimizer)
    hook.remove()
    model(X)
    assert torch.equal(optimizer.state_dict()["state"][0]["slots"]["tensor"], scores)


def test_two_resumed_optimizers_share_no_scores():
    model, optimizer = trained()
    saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    others = []
    for _ in range(2):
        other = classifier()
        resumed = slots.drive(OPTIMIZERS["sgd"](other.parameters()), other)
        other.load_state_dict(saved["model"])
        resumed.load_state_dict(copy.deepcopy(saved["optimizer"]))
        others.append((other, resumed))
    step(*others[0])
    assert step(*others[1]) == step(*trained_once_more(saved))


def trained_once_more(saved):
    other = classifier()
    resumed = slots.drive(OPTIMIZERS["sgd"](other.parameters()), other)
    other.load_state_dict(saved["model"])
    resumed.load_state_dict(copy.deepcopy(saved["optimizer"]))
    return other, resumed


def test_a_step_without_autograd_is_refused():
    model = classifier()
    handle = bp.attach(model, bp.DirectFeedbackAlignment())
    with pytest.raises(bp.UserError, match="ChainStep updates weights directly"):
        bp.ChainStep(handle, 0.1)


def test_one_score_a_step_is_worse():
    """What a common re-implementation does: it moves the chosen score alone."""
    losses = {}
    for alone in (False, True):
        model = classifier(kind=4)
        optimizer = slots.drive_scores(torch.optim.SGD(model.parameters(), 0.2), model)
        for _ in range(100):
            loss = step(model, optimizer) if not alone else step_of_the_chosen(model, optimizer)
        losses[alone] = loss
    assert losses[False] < 0.95 * losses[True]


def step_of_the_chosen(model, optimizer):
    before = [tensor.clone() for tensor in moved(model)]
    loss = step(model, optimizer)
    for reel, scores in zip(reels(model), before, strict=True):
        chosen = scores.argmax(0, keepdim=True)
        kept = scores.clone().scatter(0, chosen, reel.scores.tensor.gather(0, chosen))
        reel.scores.tensor.copy_(kept)
        reel.write()
    return loss


def test_an_optimizer_with_state_is_refused():
    model = classifier()
    with pytest.raises(bp.UserError, match="Adagrad already has state for each weight"):
        slots.drive(torch.optim.Adagrad(model.parameters()), model)


def test_a_closure_is_refused():
    model = classifier()
    optimizer = slots.drive(torch.optim.LBFGS(model.parameters()), model)
    with pytest.raises(bp.UserError, match="through a closure"):
        optimizer.step(lambda: cross_entropy(model(X), Y))


def test_driving_needs_a_converted_model_and_its_weights():
    model = classifier()
    with pytest.raises(bp.UserError, match="holds none of the 2 converted weights"):
        slots.drive(torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1), model)
    plain = nn.Linear(2, 2)
    with pytest.raises(bp.UserError, match="Linear has no slots"):
        slots.drive(torch.optim.SGD(plain.parameters(), 0.1), plain)
    optimizer = slots.drive(torch.optim.SGD(model.parameters(), 0.1), model)
    with pytest.raises(bp.UserError, match="already drives a model"):
        slots.drive(optimizer, model)


def test_a_failed_step_leaves_no_scores_in_the_weights():
    model = classifier()

    class Failing(torch.optim.Adam):
        fails = True

        def step(self, closure=None):
            if self.fails:
                raise ArithmeticError
            return super().step(closure)

    optimizer = slots.drive(Failing(model.parameters(), 0.01), model)
    with pytest.raises(ArithmeticError):
        step(model, optimizer)
    assert model.state_dict()["0.weight"].shape == (32, 10)
    assert on_values(model)
    with pytest.raises(ArithmeticError):
        step(model, optimizer)
    optimizer.fails = False
    assert step(model, optimizer) > 0
    assert on_values(model)


def test_gradients_are_those_of_the_weights_between_steps():
    model = classifier()
    optimizer = slots.drive(OPTIMIZERS["adam"](model.parameters()), model)
    step(model, optimizer)
    for parameter in model.parameters():
        assert parameter.grad.shape == parameter.shape


def test_gradient_scaling_and_schedulers():
    model, other = classifier(), classifier()
    optimizer = slots.drive(torch.optim.SGD(model.parameters(), 0.25), model)
    scaled = slots.drive(torch.optim.SGD(other.parameters(), 0.25), other)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    schedules = [torch.optim.lr_scheduler.StepLR(o, 1, 0.5) for o in (optimizer, scaled)]
    for _ in range(4):
        step(model, optimizer)
        scaled.zero_grad()
        scaler.scale(cross_entropy(other(X), Y)).backward()
        scaler.step(scaled)
        scaler.update()
        for schedule in schedules:
            schedule.step()
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_part_without_gradients_stays():
    model = classifier()
    optimizer = slots.drive(OPTIMIZERS["sgd"](model.parameters()), model)
    step(model, optimizer)
    before = [p.clone() for p in model.parameters()]
    optimizer.zero_grad()
    model[2].weight.grad = torch.randn(3, 32)
    optimizer.step()
    assert torch.equal(model[0].weight, before[0])
    assert not torch.equal(model[2].weight, before[1])


def test_groups_with_rates_of_their_own():
    model = classifier()
    groups = [{"params": [model[0].weight], "lr": 0.0}, {"params": [model[2].weight]}]
    optimizer = slots.drive(torch.optim.SGD(groups, 0.5, weight_decay=0.1), model)
    before = model[0].weight.clone()
    for _ in range(5):
        step(model, optimizer)
    assert torch.equal(model[0].weight, before)
    first, last = scores_of(model)
    assert first.decay == 1
    assert last.decay == pytest.approx(0.95**5)


def test_state_of_one_number_a_weight():
    model = classifier()
    optimizer = slots.drive(OPTIMIZERS["sgd"](model.parameters()), model)
    step(model, optimizer)
    for weight in model.parameters():
        assert optimizer.state[weight]["slots"]["tensor"].shape == weight.shape
    plain = classifier()
    optimizer = slots.drive_scores(OPTIMIZERS["sgd"](plain.parameters()), plain)
    step(plain, optimizer)
    assert optimizer.state[plain[0].weight]["slots"]["tensor"].shape == (8, 32, 10)


def test_the_experiments_drive_by_themselves(tmp_path):
    from beyondprop.experiment import RunSpec, train

    record = train(RunSpec(task="digits-slots", rule="dfa", epochs=1), tmp_path / "run")
    assert record["status"] == "finished"


def test_weights_that_are_no_parameters_any_more_are_told():
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    slots.convert(model, 4)
    nn.utils.parametrizations.weight_norm(model[0])
    with pytest.raises(bp.UserError, match=r"'0\.weight' is no longer a parameter of the model"):
        slots.drive(torch.optim.SGD(model.parameters(), 0.5), model)
