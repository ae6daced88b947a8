"""A penalised linear layer, solved by Newton's method on the whole Hessian."""

import torch
import torch.nn.functional as F
from torch.autograd.functional import hessian as jacobian_of_gradient
from torch.autograd.functional import jacobian


def standardised(features):
    """Return features less their mean, over their deviation."""
    features = features.double()
    deviation = features.std(0, correction=0)
    return (features - features.mean(0)) / torch.where(deviation == 0, torch.inf, deviation)


def solved(features, targets, outputs, penalty, loss=F.cross_entropy):
    """Return the least of the loss plus half the penalty of the squared weights.

    Args:
        features: ``(n, d)``, as they are.
        targets: Of the n samples.
        outputs: Of the layer.
        penalty: Of the weights on standardised features; the bias has none.
        loss: (outputs, targets) to a scalar, twice differentiable.
    """
    x = standardised(features)
    size = x.shape[1] * outputs

    def objective(both):
        weight, bias = both[:size].view(-1, outputs), both[size:]
        return loss(x @ weight + bias, targets) + penalty / 2 * weight.square().sum()

    both = torch.zeros(size + outputs, dtype=torch.float64)
    for _ in range(60):
        gradient = jacobian(objective, both)
        hessian = jacobian_of_gradient(objective, both)
        # A shift of all biases changes no softmax: the least step is taken.
        step = torch.linalg.lstsq(hessian, gradient, driver="gelsd").solution
        length = 1.0
        while objective(both - length * step) > objective(both) and length > 1e-10:
            length /= 2
        both = both - length * step
        if gradient.norm() < 1e-11:
            break
    return objective(both).item()
