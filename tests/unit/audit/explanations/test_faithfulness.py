import pytest
import torch
from tests.reference import faithfulness as slow
from torch import nn

from beyondprop.audit import explanations as ex


def first_only(x, classes):
    """Return the first number of each sample."""
    del classes
    return x.flatten(1)[:, 0]


NONE = torch.zeros(2, dtype=torch.int64)


def test_deletion_and_insertion_by_hand():
    x, absent = torch.tensor([[1.0, 5, 5, 5], [2.0, 5, 5, 5]]), torch.zeros(4)
    first, last = torch.tensor([[4.0, 3, 2, 1]] * 2), torch.tensor([[1.0, 2, 3, 4]] * 2)
    hide = ex.deletion(first_only, x, NONE, first, absent, steps=4)
    assert hide.tolist() == [[1, 0, 0, 0, 0], [2, 0, 0, 0, 0]]
    assert ex.deletion(first_only, x, NONE, last, absent, 4).tolist()[0] == [1, 1, 1, 1, 0]
    show = ex.insertion(first_only, x, NONE, first, absent, 4)
    assert show.tolist() == [[0, 1, 1, 1, 1], [0, 2, 2, 2, 2]]
    assert ex.area(hide).tolist() == [1 / 8, 1 / 4]
    assert ex.area(show).tolist() == [7 / 8, 7 / 4]


def test_curves_as_by_a_slow_loop_and_images_lose_whole_pixels():
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * 3 * 5, 8), nn.Tanh(), nn.Linear(8, 3))
    x, absent, maps = torch.randn(4, 2, 3, 5), torch.randn(2, 3, 5), torch.randn(4, 2, 3, 5)
    classes, told = torch.tensor([0, 1, 2, 0]), ex.probability(model)
    for curve in ("deletion", "insertion"):
        found = getattr(ex, curve)(told, x, classes, maps, absent, steps=7)
        expected = getattr(slow, curve)(model, x, classes, maps, absent, steps=7)
        assert torch.allclose(found, expected, atol=1e-6)


def test_true_attributions_are_faithful_and_random_ones_are_not():
    weights = torch.randn(9)
    x, absent = torch.randn(6, 9), torch.zeros(9)

    def told(inputs, classes):
        del classes
        return inputs @ weights

    hidden, taken = ex.removals(
        told, x, torch.zeros(6).long(), absent, torch.arange(9), draws=40, seed=1
    )
    assert hidden.sum(2).unique().tolist() == [2]
    true = ex.said_of(weights * x, torch.arange(9), hidden)
    noise = ex.said_of(torch.randn(6, 9), torch.arange(9), hidden)
    assert ex.infidelity(true, taken).max() < 1e-8
    assert ex.relative_infidelity(7 * true, taken).max() < 1e-5  # whatever their scale
    assert ex.relative_infidelity(noise, taken).mean() > 0.5
    assert ex.relative_infidelity(0 * noise, taken).tolist() == [1] * 6


def test_infidelity_and_sensitivity_are_captums():
    metrics = pytest.importorskip("captum.metrics")
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    x, absent, classes = torch.randn(4, 6), torch.zeros(6), torch.tensor([0, 1, 2, 0])
    told, regions, draws = ex.evidence(model), torch.arange(6), 30
    maps = ex.IntegratedGradients().maps(told, x, classes, absent)
    hidden, taken = ex.removals(told, x, classes, absent, regions, draws, seed=3)
    said = ex.said_of(maps, regions, hidden)

    def perturbed(inputs):
        """Return captum's order: the draws of a sample one after another."""
        masks = hidden.transpose(0, 1).flatten(0, 1).float()  # (n * draws, 6)
        return masks, inputs * (1 - masks)

    theirs = metrics.infidelity(
        told, perturbed, x, maps, additional_forward_args=(classes,), n_perturb_samples=draws
    )
    assert torch.allclose(ex.infidelity(said, taken), theirs, atol=1e-6)
    scaled = metrics.infidelity(
        told, perturbed, x, maps, additional_forward_args=(classes,), n_perturb_samples=draws,
        normalize=True,
    )  # fmt: skip
    mine = ex.relative_infidelity(said, taken) * taken.square().mean(0)
    assert torch.allclose(mine, scaled, atol=1e-5)

    def gradients(inputs):
        return ex.Saliency().maps(told, inputs, classes.repeat(len(inputs) // 4), absent)

    generator = torch.Generator().manual_seed(5)
    moves = [(torch.rand(4, 6, generator=generator) * 2 - 1) * 0.3 for _ in range(10)]
    steps = iter(moves)
    theirs = metrics.sensitivity_max(
        lambda inputs: (gradients(inputs[0] if isinstance(inputs, tuple) else inputs),),
        x,
        perturb_func=lambda inputs: (inputs + next(steps)).detach(),
        n_perturb_samples=10,
        max_examples_per_batch=4,
    )
    assert torch.allclose(ex.sensitivity(gradients, x, 0.3, 10, seed=5), theirs, atol=1e-5)


def test_sensitivity_of_a_linear_models_gradient_is_zero():
    model = nn.Linear(6, 3)
    told, classes = ex.evidence(model), torch.tensor([0, 1])
    pytest.importorskip("captum")
    found = ex.sensitivity(
        lambda x: ex.Saliency().maps(told, x, classes, torch.zeros(6)), torch.randn(2, 6), 1.0, 3, 0
    )
    assert found.max() < 1e-6


def test_agreement_is_scipys_and_maps_of_one_value_have_none():
    stats = pytest.importorskip("scipy.stats")
    a, b = torch.randn(5, 2, 7), torch.randn(5, 2, 7).round()  # with ties
    found = ex.agreement(a, b)
    for i in range(5):
        expected = stats.spearmanr(a[i].flatten(), b[i].flatten()).statistic
        assert found[i].item() == pytest.approx(expected)
    assert ex.agreement(a, a.exp()).tolist() == pytest.approx([1.0] * 5)
    assert ex.agreement(a, torch.ones(5, 2, 7)).isnan().all()
    assert torch.equal(ex.chance(a, b), ex.agreement(a, b.roll(1, 0)))
