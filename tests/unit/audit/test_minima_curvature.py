import pytest
import torch
import torch.nn.functional as F
from torch import nn

from beyondprop.audit.minima import Slope, WeightLoss, slope, spectrum, trace
from beyondprop.errors import UserError
from beyondprop.tasks import Split


def of_spectrum(values):
    """A symmetric matrix with these eigenvalues."""
    basis, _ = torch.linalg.qr(torch.randn(len(values), len(values), dtype=torch.float64))
    return basis @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ basis.T


def dense(loss):
    """The Hessian as PyTorch writes it out."""
    inputs, targets = loss.samples.batch(slice(None))

    def function(vector):
        given = loss.shaped(vector)
        return loss.criterion(torch.func.functional_call(loss.model, given, (inputs,)), targets)

    vector = torch.cat([each.flatten() for each in loss.weights.values()])
    return torch.func.jacrev(torch.func.jacrev(function))(vector)


@pytest.mark.parametrize("size", [12, 90])
def test_the_eigenvalues_of_a_matrix_are_found(size):
    values = torch.linspace(-3, 4, size).tolist()
    matrix = of_spectrum(values)
    found = spectrum(lambda v: matrix @ v, size, count=3, tolerance=1e-8)
    assert found.largest == pytest.approx(sorted(values)[:-4:-1], abs=1e-6)
    assert found.smallest == pytest.approx(-3, abs=1e-6)
    assert found.products >= 12


def test_of_a_large_matrix_all_eigenvalues_but_one_are_found_at_most():
    values = torch.linspace(-3, 4, 70).tolist()
    matrix = of_spectrum(values)
    found = spectrum(lambda v: matrix @ v, 70, count=200)
    assert found.largest == pytest.approx(sorted(values)[:0:-1], abs=1e-3)


def test_the_trace_of_a_diagonal_matrix_is_exact():
    diagonal = torch.linspace(-1, 2, 70, dtype=torch.float64)
    found = trace(lambda v: diagonal * v, 70, draws=5)
    assert found.value == pytest.approx(diagonal.sum().item())
    assert found.error == pytest.approx(0, abs=1e-12)


def test_the_trace_lies_within_its_error_with_the_known_variance():
    matrix = of_spectrum(torch.linspace(-1, 2, 70).tolist())
    found = trace(lambda v: matrix @ v, 70, draws=400)
    beside = matrix - torch.diag(matrix.diag())
    assert found.value == pytest.approx(35, abs=4 * found.error)
    assert found.error == pytest.approx((2 * beside.square().sum().item() / 400) ** 0.5, rel=0.2)


def test_a_quadratic_has_the_hessian_of_its_formula():
    """The mean squared error of a linear layer: 2/n XᵀX."""
    x, y = torch.randn(120, 80, dtype=torch.float64), torch.randn(120, 1, dtype=torch.float64)
    model = nn.Linear(80, 1, bias=False, dtype=torch.float64).eval()
    loss = WeightLoss(model, Split(x, y), F.mse_loss, batch_size=50)
    values = torch.linalg.eigvalsh(2 / 120 * x.T @ x)
    found = spectrum(loss.product, loss.count, count=4, tolerance=1e-8)
    assert found.largest == pytest.approx(values.flip(0)[:4].tolist())
    assert found.smallest == pytest.approx(values[0].item(), abs=1e-6)


def test_logistic_regression_has_the_hessian_of_its_formula():
    """Mean over samples of (diag(p) - ppᵀ) ⊗ xxᵀ."""
    x, y = torch.randn(40, 6, dtype=torch.float64), torch.randint(3, (40,))
    model = nn.Linear(6, 3, bias=False, dtype=torch.float64).eval()
    p = model(x).softmax(1).detach()
    hessian = sum(
        torch.kron(torch.diag(q) - torch.outer(q, q), torch.outer(v, v))
        for q, v in zip(p, x, strict=True)
    ) / len(x)
    loss = WeightLoss(model, Split(x, y), F.cross_entropy, batch_size=7)
    vector = torch.randn(18, dtype=torch.float64)
    torch.testing.assert_close(loss.product(vector), hessian @ vector)
    found = spectrum(loss.product, loss.count)
    values = torch.linalg.eigvalsh(hessian)
    assert found.largest == pytest.approx(values.flip(0)[:5].tolist())
    assert found.smallest == pytest.approx(values[0].item(), abs=1e-9)


def network():
    return nn.Sequential(
        nn.Conv1d(2, 3, 2), nn.BatchNorm1d(3), nn.Tanh(), nn.Flatten(), nn.Linear(9, 4)
    ).double()


def test_products_and_eigenvalues_are_those_of_the_whole_hessian():
    model = network()
    model(torch.randn(30, 2, 4, dtype=torch.float64))  # statistics other than 0 and 1
    model.eval()
    samples = Split(torch.randn(21, 2, 4, dtype=torch.float64), torch.randint(4, (21,)))
    loss = WeightLoss(model, samples, F.cross_entropy, batch_size=8)
    hessian = dense(loss)
    assert loss.count == 61
    vector = torch.randn(61, dtype=torch.float64)
    torch.testing.assert_close(loss.product(vector), hessian @ vector)
    found, values = spectrum(loss.product, 61), torch.linalg.eigvalsh(hessian)
    assert found.largest == pytest.approx(values.flip(0)[:5].tolist())
    assert found.smallest == pytest.approx(values[0].item())


def test_only_what_learns_counts_and_nothing_is_left_behind():
    model = network().eval()
    model[0].requires_grad_(False)
    state = {name: each.clone() for name, each in model.state_dict().items()}
    samples = Split(torch.randn(5, 2, 4, dtype=torch.float64), torch.randint(4, (5,)))
    loss = WeightLoss(model, samples, F.cross_entropy)
    assert loss.count == 6 + 40
    found = loss.gradient()
    F.cross_entropy(model(samples.inputs), samples.targets).backward()
    own = torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])
    torch.testing.assert_close(found, own)
    model.zero_grad()
    slope(loss)
    assert all(p.grad is None for p in model.parameters())
    for name, each in model.state_dict().items():
        assert torch.equal(each, state[name])


def test_attention_has_second_derivatives():
    layer = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True).double()
    model = nn.Sequential(layer, nn.Flatten(), nn.Linear(24, 2).double()).eval()
    samples = Split(torch.randn(4, 3, 8, dtype=torch.float64), torch.randint(2, (4,)))
    loss = WeightLoss(model, samples, F.cross_entropy)
    vector = torch.randn(loss.count, dtype=torch.float64)
    step = 1e-5
    moved = {}
    for sign in (1, -1):
        given = loss.shaped(sign * step * vector)
        other = nn.Sequential(*model)
        with torch.no_grad():
            for name, each in other.named_parameters():
                each += given[name]
        moved[sign] = loss.gradient()
        with torch.no_grad():
            for name, each in other.named_parameters():
                each -= given[name]
    expected = (moved[1] - moved[-1]) / (2 * step)
    torch.testing.assert_close(loss.product(vector), expected, rtol=1e-4, atol=1e-6)


def test_one_step_takes_all_of_a_round_quadratic_and_nothing_at_its_minimum():
    model = nn.Linear(3, 1, bias=False, dtype=torch.float64).eval()
    x = torch.eye(3, dtype=torch.float64)
    loss = WeightLoss(model, Split(x, torch.ones(3, 1, dtype=torch.float64)), F.mse_loss)
    assert slope(loss).gain == pytest.approx(1)
    with torch.no_grad():
        model.weight.fill_(1)
    assert slope(loss) == Slope(0, 0, 0, 0, 0)
    assert slope(loss).gain == 0


def test_no_step_is_taken_where_the_loss_bends_downward():
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64).eval()
    x = torch.ones(1, 1, dtype=torch.float64)
    loss = WeightLoss(model, Split(x, x), lambda out, _: -out.square().sum())
    found = slope(loss)
    assert found.curvature == pytest.approx(-2)
    assert found.gain is None


def test_a_network_whose_units_are_all_dead_is_flat():
    model = nn.Sequential(nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 1)).eval()
    model[0].bias.data.fill_(-1e6)
    model[2].requires_grad_(False)
    loss = WeightLoss(model, Split(torch.randn(8, 9), torch.randn(8, 1)), F.mse_loss)
    found = spectrum(loss.product, loss.count, count=2)
    assert (found.largest, found.smallest) == ((0, 0), 0)


def test_what_has_no_minimum_is_refused():
    model, samples = nn.Linear(2, 1), Split(torch.randn(3, 2), torch.randn(3, 1))
    with pytest.raises(UserError, match=r"call eval\(\)"):
        WeightLoss(model, samples, F.mse_loss)
    model.eval().requires_grad_(False)
    with pytest.raises(UserError, match="no parameter"):
        WeightLoss(model, samples, F.mse_loss)
    model.requires_grad_()
    model.weight.data[0, 0] = float("nan")
    with pytest.raises(UserError, match="diverged"):
        WeightLoss(model, samples, F.mse_loss)
