import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.measure import confusion, evaluate
from beyondprop.tasks import Split, accuracy

Batch = tuple[Tensor, Tensor]


def precision_at_ten(outputs: Tensor, targets: Tensor) -> float:
    """A metric of ranks, which no mean over batches can give."""
    order = outputs[:, 0].argsort(descending=True)
    return (targets[order][:10] == 0).double().mean().item()


def summed(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, weight=torch.tensor([1.0, 5.0, 0.1]))


@pytest.mark.parametrize("batch_size", [1, 3, 7, 20, 1000])
def test_figures_do_not_depend_on_the_batch_size(
    net: nn.Sequential, batch: Batch, batch_size: int
) -> None:
    found = evaluate(net, Split(*batch), summed, precision_at_ten, batch_size)
    with torch.no_grad():
        outputs = net.eval()(batch[0])
    assert found.score == precision_at_ten(outputs, batch[1])
    assert found.loss == pytest.approx(summed(outputs, batch[1]).item(), rel=1e-6)
    assert torch.equal(found.confusion, confusion(outputs, batch[1]))


def test_the_model_runs_in_eval_mode(net: nn.Sequential, batch: Batch) -> None:
    """Dropout and batch statistics would show: two evaluations of a training model would differ."""
    net.train()
    split = Split(*batch)
    losses = {evaluate(net, split, F.cross_entropy, accuracy, 20).loss for _ in range(3)}
    assert losses == {evaluate(net.eval(), split, F.cross_entropy, accuracy, 20).loss}


def test_the_confusion_matrix_counts_classes_by_predictions() -> None:
    outputs = torch.tensor([[9, 0, 0], [0, 9, 0], [0, 9, 1], [0, 9, 10], [1, 0, 0.0]])
    targets = torch.tensor([0, 0, 0, 2, -100])
    assert confusion(outputs, targets).tolist() == [[1, 2, 0], [0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("targets", [torch.zeros(5), torch.zeros(5, 3), torch.zeros(5) > 1])
def test_what_is_no_classification_has_no_confusion_matrix(targets: Tensor) -> None:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.sum() - targets.sum()).abs()

    split = Split(torch.ones(5, 2), targets)
    found = evaluate(nn.Linear(2, 3), split, loss, lambda o, t: -loss(o, t).item(), 2)
    assert found.confusion is None
    assert found.score == -found.loss


def test_a_batch_size_of_zero_is_an_error(net: nn.Sequential, batch: Batch) -> None:
    with pytest.raises(UserError, match="at least 1, not 0"):
        evaluate(net, Split(*batch), F.cross_entropy, accuracy, 0)


@pytest.mark.parametrize(
    "value", [1, 1.0, True, np.float32(1), np.float64(1), np.ones(()), torch.tensor(1.0)], ids=repr
)
def test_a_score_is_a_plain_number_whatever_the_metric_returns(
    net: nn.Sequential, batch: Batch, value: object
) -> None:
    score = evaluate(net, Split(*batch), F.cross_entropy, lambda *_: value, 20).score
    assert type(score) is float
    assert score == 1


@pytest.mark.parametrize("value", [None, "1", 1j, [1.0], np.ones(2), torch.ones(0)], ids=repr)
def test_a_metric_that_is_not_one_number_is_an_error(
    net: nn.Sequential, batch: Batch, value: object
) -> None:
    with pytest.raises(UserError, match="the metric must give one number, not"):
        evaluate(net, Split(*batch), F.cross_entropy, lambda *_: value, 20)
