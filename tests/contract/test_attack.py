"""Robustness is only ever measured by true gradients.

Through a feedback graph a projected-gradient attack follows a direction that is no gradient of the
loss, fails, and reports a robustness that the network does not have.
"""

import pytest
import torch
import torch.nn.functional as F

import beyondprop as bp
from beyondprop import tasks

RADIUS, STEP, STEPS = 0.15, 0.03, 10


def pgd(model, x, y):
    """Projected gradient descent in the maximum norm (Madry et al. 2018)."""
    adversarial = x.clone()
    for _ in range(STEPS):
        adversarial.requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(adversarial), y), adversarial)
        adversarial = adversarial.detach() + STEP * gradient.sign()
        adversarial = (x + (adversarial - x).clamp(-RADIUS, RADIUS)).clamp(0, 1)
    return adversarial


def accuracy(model, x, y):
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    task = tasks.find("digits-mlp")
    data = task.load(None)
    model = task.model()
    handle = bp.attach(model, bp.DirectFeedbackAlignment())
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(15):
        for rows in torch.randperm(len(data.train)).split(64):
            loss = F.cross_entropy(model(data.train.inputs[rows]), data.train.targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model, handle, data.test.inputs, data.test.targets


def test_an_attack_through_the_feedback_graph_overstates_robustness(trained):
    model, handle, x, y = trained
    through_feedback = pgd(model, x, y)
    with bp.exact_gradients(model):
        exact = pgd(model, x, y)
    handle.remove()
    plain = pgd(model, x, y)
    assert torch.equal(exact, plain)
    assert accuracy(model, x, y) > 0.9
    assert accuracy(model, exact, y) < accuracy(model, through_feedback, y) - 0.1
