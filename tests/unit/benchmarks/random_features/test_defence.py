import pytest
import torch

import beyondprop
from benchmarks.random_features import attacks, defence
from beyondprop.optics import CalibratedFeatures


def test_who_knows_the_matrix_sees_the_same_network():
    model = defence.METHODS["light, dfa"].model(16, 8, 30, seed=3)
    x = torch.randn(4, 1, 4, 4)
    known = defence.calibrated(model)
    assert type(known[1][0]) is CalibratedFeatures
    assert torch.equal(known(x), model(x))
    plain = defence.METHODS["plain, backprop"].model(16, 8, 30, seed=3)
    assert defence.calibrated(plain) is plain
    assert torch.equal(plain.features[1].weight, model.features[1].weight)


@pytest.mark.parametrize("name", ["plain, dfa", "signs, backprop", "light, dfa", "light, backprop"])
def test_only_attacks_that_need_a_hidden_matrix_are_not_blind(name):
    alive = {
        attack: torch.tensor([attack != falls for falls in ("square", "own pgd", "known pgd")])
        for attack in ("own pgd", "own pgd, margin", "known pgd", "known pgd, margin", "square")
    }
    made = defence.METHODS[name].model(16, 8, 30, seed=0)
    found = defence.shares(alive, defence.telling(made))
    least = {"light, dfa": 1 / 3, "light, backprop": 2 / 3}  # square and own pgd, square alone
    assert found["blind"] == pytest.approx(least.get(name, 0))
    assert found["worst"] == 0
    assert found["own"] == found["known"] == pytest.approx(2 / 3)


def test_all_pgd_takes_the_steps_that_are_asked_for_and_both_losses(monkeypatch):
    asked = []

    def pgd(_model, x, _y, _box, steps, loss):
        asked.append((steps, loss))
        return x

    monkeypatch.setattr(defence, "pgd", pgd)
    rule = beyondprop.Backprop()
    model = defence.METHODS["plain, backprop"].model(16, 8, 30, seed=0)
    handle = beyondprop.attach(model, rule, blocks=("features", "head"))
    x, y = torch.rand(3, 1, 4, 4), torch.zeros(3, dtype=torch.long)
    defence.attacked(handle, model, x, y, attacks.Box(0.1, 0.0, 1.0), steps=7, queries=3)
    both = [(7, loss) for loss in defence.LOSSES.values()]
    assert asked[:4] == 2 * both
    assert len(asked) == 5  # and the transfer
