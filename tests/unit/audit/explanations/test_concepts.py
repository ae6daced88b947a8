import warnings

import numpy as np
import pytest
import torch
from torch import nn

from beyondprop.audit import explanations as ex
from beyondprop.audit.explanations.tcav import holm, welch
from beyondprop.errors import UserError

pytest.importorskip("captum")
pytest.importorskip("sklearn")

QUICK = ex.ConceptTest(sets=6, controls=20, size=30)


def model():
    """Return a model of which class 1 is told by the first number alone, through a tanh."""
    net = nn.Sequential(nn.Identity(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2))
    with torch.no_grad():
        net[1].weight.zero_()[:, 0] = torch.tensor([1.0, 2, -1, 0.5])
        net[1].bias.zero_()
        net[3].weight[1] = torch.tensor([1.0, 1, -1, 1])
        net[3].weight[0] = 0
        net[3].bias.zero_()
    return net


def high(place, count=60):
    """Return examples of a concept: one of the numbers is high."""
    x = torch.randn(count, 6)
    x[:, place] += 4
    return x


def test_a_concept_that_decides_pushes_and_others_do_not():
    net, x = model(), torch.randn(40, 6)
    classes = torch.arange(40) % 2
    found = ex.concepts(
        ex.evidence(net), net[0], x, classes, {"first": high(0, 400), "third": high(2, 400)},
        torch.randn(400, 6), QUICK,
    )  # fmt: skip
    by_name = {(each.concept, each.towards): each for each in found}
    assert by_name["first", 1].score == 1
    assert by_name["first", 0].score == 0
    assert by_name["first", 1].significant
    assert by_name["first", 0].significant
    assert not by_name["third", 0].significant
    assert not by_name["third", 1].significant
    assert all(each.told_apart > 0.9 for each in found)


def test_scores_are_those_of_captums_tcav(tmp_path):
    """Its vectors and scores from the same examples, by the same kind of classifier."""
    from captum.attr import LayerGradientXActivation
    from captum.concept import TCAV, Classifier, Concept
    from sklearn.linear_model import LogisticRegression

    from beyondprop.audit.explanations import tcav as inner

    class Logistic(Classifier):
        def __init__(self):
            self.fitted = None

        def train_and_eval(self, dataloader, **_):
            parts = list(dataloader)
            x, y = (torch.cat([part[i] for part in parts]) for i in (0, 1))
            self.fitted = LogisticRegression(max_iter=10_000).fit(x / x.std(), y)

        def weights(self):
            row = torch.from_numpy(self.fitted.coef_[0])
            return torch.stack([-row, row])

        def classes(self):
            return self.fitted.classes_.tolist()

    net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    x, classes, concept, pool = (
        torch.randn(30, 6),
        torch.ones(30).long(),
        high(1),
        torch.randn(60, 6),
    )
    told = ex.evidence(net)
    tcav = TCAV(
        net, ["0"], classifier=Logistic(), save_path=str(tmp_path),
        layer_attr_method=LayerGradientXActivation(told, None, multiply_by_inputs=False),
    )  # fmt: skip
    sets = [Concept(0, "concept", [concept]), Concept(1, "random", [pool])]
    # One set that is all of the pool, nothing held back: what is fitted here is what captum fits.
    active, random = (inner._activations(told, net[0], each) for each in (concept, pool))
    fitted = LogisticRegression(max_iter=10_000).fit(
        torch.cat([active, random]) / torch.cat([active, random]).std(), np.repeat([1, 0], 60)
    )
    vector = torch.from_numpy(fitted.coef_[0]).float()[None]
    found = []
    for each in range(3):
        classes = torch.full((30,), each)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="numpy.core is deprecated")
            theirs = tcav.interpret(x, [sets], additional_forward_args=(classes,))
        slopes = inner._gradients(told, net[0], x, classes)
        found.append(inner._scores(slopes, classes, vector)[each][0])
        assert theirs["0-1"]["0"]["sign_count"][0].item() == pytest.approx(found[-1], abs=1 / 30)
    assert len(set(found)) == 3


def test_vectors_point_to_the_concept():
    from beyondprop.audit.explanations.tcav import _vector

    vector, accuracy = _vector(high(3), torch.randn(60, 6))
    assert vector.norm().item() == pytest.approx(1)
    assert vector[3] > 0.8
    assert accuracy > 0.9
    _, chance = _vector(torch.randn(400, 6), torch.randn(400, 6))
    assert 0.3 < chance < 0.7


def test_welch_is_scipys_and_knows_scores_without_spread():
    stats = pytest.importorskip("scipy.stats")
    a, b = np.array([0.9, 0.8, 1.0, 0.95]), np.array([0.2, 0.9, 0.4, 0.6, 0.1])
    assert welch(a, b) == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)
    assert welch(np.ones(4), np.ones(5)) == 1
    assert welch(np.ones(4), np.zeros(5)) == 0


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03], 0.05) == [False, True, False]
    assert holm([0.02, 0.01, 0.025], 0.05) == [True, True, True]
    assert holm([], 0.05) == []


def test_too_few_examples_are_refused():
    net = model()
    told, x, classes = ex.evidence(net), torch.randn(4, 6), torch.zeros(4).long()
    with pytest.raises(UserError, match="striped"):
        ex.concepts(told, net[0], x, classes, {"striped": x}, torch.randn(40, 6))
    with pytest.raises(UserError, match="2 sets"):
        ex.ConceptTest(sets=1)
