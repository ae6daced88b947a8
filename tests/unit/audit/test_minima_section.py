import json
import math

import pytest
import torch
import torch.nn.functional as F
from rich.progress import Progress
from torch import nn

from beyondprop import slots
from beyondprop.audit import Audited
from beyondprop.audit.minima import Minima, WeightLoss, switches
from beyondprop.errors import UserError
from beyondprop.tasks import Data, Split, Task

HIDDEN = Progress(disable=True)
TINY = Minima(
    samples=20,
    scored=30,
    probes=3,
    eigenvalues=2,
    directions=3,
    fine=3,
    coarse=3,
    switches=5,
    steps=2,
    tested=10,
)


def dense():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def chosen():
    return slots.convert(dense(), 4, seed=1).model


def unmatched():
    return nn.Sequential(nn.Linear(6, 8), nn.Softmax(1), nn.Linear(8, 3))


def noise(_):
    made = torch.Generator().manual_seed(0)

    def split(n):
        x = torch.randn(n, 6, generator=made)
        return Split(x, torch.randint(3, (n,), generator=made))

    return Data("noise", split(40), split(10), split(20), tuple("abc"))


def audited(network, seed=0, change=None):
    task = Task(name="tiny", summary="noise", load=noise, model=network)

    def build():
        torch.manual_seed(seed)
        model = network().eval()
        if change is not None:
            change(model)
        return model

    return Audited("backprop", task, noise(None), seed, build)


def test_an_answer_has_all_figures_as_json():
    found = TINY.ask(audited(dense), HIDDEN)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["samples"], found["parameters"], found["train"]["samples"]) == (20, 83, 30)
    assert found["train"]["loss"] == pytest.approx(found["slope"]["before"])
    assert len(found["curvature"]["largest"]) == 2
    assert found["curvature"]["trace"]["draws"] == found["sharpness"]["draws"] == 3
    assert found["sharpness"]["radius"] == 0.5
    assert found["landscape"]["line"]["places"] == [-1, 0, 1]
    assert [len(row) for row in found["landscape"]["plane"]["losses"]] == [3, 3, 3]
    middle = found["landscape"]["plane"]["losses"][1][1]
    assert middle == pytest.approx(found["landscape"]["line"]["losses"][1])
    assert "not flat" in found["verdict"]
    assert f"{found['curvature']['largest'][0]:.3g}" in found["verdict"]
    assert found["notes"] == []
    assert "choices" not in found


def test_the_same_seed_finds_the_same():
    assert TINY.ask(audited(dense), HIDDEN) == TINY.ask(audited(dense), HIDDEN)


def test_two_networks_are_compared_with_and_without_matching():
    found = TINY.beside(audited(dense, 0), audited(dense, 1))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["places"] == [0, 0.5, 1]
    for way in ("plain", "matched"):
        assert len(found[way]["losses"]) == len(found[way]["scores"]) == 3
        assert found[way]["barrier"] >= 0
    assert found["plain"]["losses"][::2] == pytest.approx(found["matched"]["losses"][::2])
    assert found["unmatched"] is None
    assert "seed 1" in found["verdict"]


def test_a_network_beside_itself_has_no_barrier():
    found = TINY.beside(audited(dense), audited(dense))
    assert found["plain"]["barrier"] == pytest.approx(0, abs=1e-7)
    assert found["matched"]["barrier"] == pytest.approx(0, abs=1e-7)


def test_where_no_matching_is_known_the_verdict_says_so():
    found = TINY.beside(audited(unmatched, 0), audited(unmatched, 1))
    assert found["matched"] is None
    assert "Softmax" in found["unmatched"]
    assert found["verdict"].endswith(f"{found['unmatched']}.")


def test_a_slot_machine_is_told_what_its_figures_mean():
    found = TINY.ask(audited(chosen), HIDDEN)
    assert found["choices"]["tried"] == 5
    assert found["choices"]["best"] <= found["choices"]["mean"]
    assert "scores" in found["notes"][0]
    assert "Of 5 single weights" in found["verdict"]
    beside = TINY.beside(audited(chosen, 0), audited(chosen, 1))
    assert "scores" in beside["notes"][0]


def test_a_switch_gives_one_weight_another_of_its_values():
    model = chosen().eval()
    machine = slots.machine_of(model)
    samples = noise(None).train
    loss = WeightLoss(model, samples, F.cross_entropy)
    found = list(switches(loss, machine, 6))
    assert all(found)

    def all_switches():
        """Every change of the loss, one weight and value after another."""
        before = loss.value()
        for reel in machine.reels:
            options = reel.source.all_values(reel.parameter)  # (4, out, in)
            for place in torch.cartesian_prod(*map(torch.arange, reel.parameter.shape)).tolist():
                for value in options[(slice(None), *place)]:
                    weights = reel.parameter.detach().clone()
                    weights[tuple(place)] = value
                    yield loss.value({reel.name: weights}) - before

    known = torch.tensor(list(all_switches()))
    assert len(known) == 4 * 72
    for each in found:
        assert (known - each).abs().min() < 1e-7


def test_a_sampled_machine_keeps_the_weights_that_are_measured():
    def network():
        return slots.convert(dense(), slots.Reels(4, slots.Sampled())).model

    found = TINY.beside(audited(network, 0), audited(network, 1))
    again = TINY.ask(audited(network), HIDDEN)
    assert again == TINY.ask(audited(network), HIDDEN)
    assert found["plain"]["losses"][1] != found["plain"]["losses"][0]


def test_numbers_that_are_not_finite_are_null():
    def shift(model):
        model[2].weight.data.fill_(1e38)
        model[2].weight.data[0] = -1e38

    with pytest.raises(UserError, match="not finite"):
        TINY.ask(audited(dense, change=shift), HIDDEN)
    with pytest.raises(UserError, match="diverged"):
        TINY.ask(audited(dense, change=lambda m: m[0].weight.data.fill_(math.nan)), HIDDEN)
