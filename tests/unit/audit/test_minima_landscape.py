import pytest
import torch
import torch.nn.functional as F
from torch import nn

from beyondprop.audit.minima import WeightLoss, direction, line, plane, sharpness
from beyondprop.tasks import Split


def generator():
    return torch.Generator().manual_seed(5)


def network():
    return nn.Sequential(nn.Conv1d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(9, 4)).eval()


def loss_of(model):
    samples = Split(torch.randn(12, 2, 4, generator=generator()), torch.arange(12) % 4)
    return WeightLoss(model, samples, F.cross_entropy, batch_size=5)


def test_each_filter_of_a_direction_is_as_long_as_the_weights():
    weights = loss_of(network()).weights
    found = direction(weights, generator())
    assert found.keys() == {"0.weight", "3.weight"}
    for name, each in found.items():
        torch.testing.assert_close(
            each.flatten(1).norm(dim=1), weights[name].flatten(1).norm(dim=1)
        )


def test_a_filter_of_zeros_does_not_move():
    found = direction({"w": torch.zeros(2, 3)}, generator())
    assert not found["w"].any()


def test_scaled_weights_that_compute_the_same_look_the_same():
    first, second = network(), network()
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        second[0].weight *= 10
        second[0].bias *= 10
        second[3].weight /= 10
    places = [-1.0, -0.5, 0.0, 0.5, 1.0]
    lines = [
        list(line(loss, direction(loss.weights, generator()), places))
        for loss in (loss_of(first), loss_of(second))
    ]
    assert lines[0] == pytest.approx(lines[1], rel=1e-4)
    assert lines[0][2] == pytest.approx(loss_of(first).value())


def test_the_plane_has_the_line_in_its_middle():
    loss = loss_of(network())
    first, second = (direction(loss.weights, torch.Generator().manual_seed(s)) for s in (1, 2))
    places = [-1.0, 0.0, 1.0]
    found = list(plane(loss, (first, second), places))
    assert found[3:6] == pytest.approx(list(line(loss, first, places)))
    assert found[1::3] == pytest.approx(list(line(loss, second, places)))


def test_the_rise_of_a_quadratic_is_that_of_its_trace():
    """Random directions of length ‖w‖ raise ½ wᵀHw-like terms by r² ‖w‖² tr(H) / 2n on average."""
    x = torch.randn(200, 30, dtype=torch.float64)
    model = nn.Linear(30, 1, bias=False, dtype=torch.float64).eval()
    loss = WeightLoss(model, Split(x, model(x).detach()), F.mse_loss)  # the minimum
    hessian = 2 / 200 * x.T @ x
    expected = 0.1**2 * model.weight.detach().square().sum() * hessian.trace() / (2 * 30)
    found = sharpness(loss, radius=0.1, directions=300)
    assert found.draws == 300
    assert found.value == pytest.approx(expected.item(), abs=4 * found.error)
    assert 0 < found.error < 0.05 * found.value
