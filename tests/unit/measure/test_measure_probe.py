"""Linear probes: the right classifier, on the right outputs."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import beyondprop as bp
from beyondprop.errors import UserError
from beyondprop.measure import linear_probe
from beyondprop.measure.blocks import block_outputs, features_of
from beyondprop.measure.probe import PENALTY, classify
from beyondprop.shapes import CHANNELS, TOKENS
from beyondprop.tasks import Split

CLASSES = 3


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def clouds(n: int, seed: int = 0, width: int = 6) -> Split:
    """Overlapping clouds of points, whose features have very different scales."""
    targets = torch.arange(n) % CLASSES
    inputs = drawn(CLASSES, width, seed=99)[targets] + drawn(n, width, seed=seed)
    return Split(inputs * 10.0 ** torch.arange(-2, width - 2) + 3, targets)


def by_newton(features: Tensor, targets: Tensor, others: Tensor) -> Tensor:
    """Fit a multinomial logistic regression in float64, by the Hessian written out."""
    features, others = features.double(), others.double()
    mean, deviation = features.mean(0), features.var(0, correction=0).sqrt()
    x = torch.cat([(features - mean) / deviation, torch.ones(len(features), 1)], 1)
    y = F.one_hot(targets, CLASSES).double()
    penalty = torch.full((x.shape[1], 1), PENALTY, dtype=torch.float64)
    penalty[-1] = 0  # the bias is free
    weight = torch.zeros(x.shape[1], CLASSES, dtype=torch.float64)
    for _ in range(30):
        p = (x @ weight).softmax(1)
        gradient = x.T @ (p - y) / len(x) + penalty * weight
        inner = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        hessian = torch.einsum("ni,ncd,nj->icjd", x, inner, x).reshape(weight.numel(), -1) / len(x)
        hessian += torch.diag(penalty.expand_as(weight).reshape(-1))
        # The pseudo-inverse: to add one number to all biases changes nothing.
        weight -= (torch.linalg.pinv(hessian) @ gradient.reshape(-1)).view_as(weight)
    assert gradient.abs().max() < 1e-10
    ones = torch.ones(len(others), 1)
    return (torch.cat([(others - mean) / deviation, ones], 1) @ weight).argmax(1)


def test_the_classifier_is_a_logistic_regression_with_a_penalty() -> None:
    train, held_out = clouds(60), clouds(3000, seed=1)
    found = classify(train.inputs, train.targets, held_out.inputs)
    expected = by_newton(train.inputs, train.targets, held_out.inputs)
    assert (found == expected).double().mean() > 0.998  # the rest lies on the boundary
    assert 0.6 < (found == held_out.targets).double().mean() < 0.95


@pytest.mark.parametrize("rule", ["backprop", "fa", "dfa", "drtp", "frozen"])
def test_it_sees_what_each_block_puts_out_in_eval_mode(net: nn.Sequential, rule: str) -> None:
    """Also that of a chain whose class was swapped; `net` has dropout and batch statistics."""
    handle = bp.attach(net, bp.rules.make(rule))
    train, held_out = clouds(90), clouds(300, seed=1)
    found = linear_probe(handle, train, held_out, batch_size=32)
    handle.remove()
    net.eval()
    parts = {"input": nn.Identity(), "0": net[:4], "4": net[:6], "6": net}
    assert list(found) == list(parts)
    for name, part in parts.items():
        with torch.no_grad():
            seen, asked = part(train.inputs), part(held_out.inputs)
        right = by_newton(seen, train.targets, asked) == held_out.targets
        assert found[name] == pytest.approx(right.double().mean().item(), abs=0.0101), name


def test_a_fused_chain_is_seen_too() -> None:
    """`ChainStep` aside, a small chain of linear layers runs as one node without its modules."""
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    handle = bp.attach(model, bp.DirectFeedbackAlignment())
    x = drawn(9, 6)
    model(x).sum().backward()  # fused
    found = block_outputs(handle, Split(x, x), 4)
    handle.remove()
    for name, stop in (("0", 2), ("2", 4), ("4", 5)):
        assert torch.allclose(found[name], model[:stop](x).detach(), atol=1e-6)


class Xor(nn.Module):
    """Sends a point to |a + b| and |a - b|: which is larger says whether the signs agree."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).abs()


def xor(n: int, seed: int) -> Split:
    inputs = drawn(n, 2, seed=seed)
    return Split(inputs, (inputs.prod(1) > 0).long())


def test_a_block_that_solves_the_task_shows_and_one_that_destroys_it_too() -> None:
    model = nn.Sequential(Xor(), nn.Linear(2, 4), nn.Linear(4, 2))
    nn.init.zeros_(model[2].weight)
    handle = bp.attach(model, bp.Frozen())
    found = linear_probe(handle, xor(1000, 0), xor(1000, 1))
    assert 0.35 < found["input"] < 0.65
    assert found["0"] > 0.98
    assert found["1"] > 0.98
    assert 0.35 < found["2"] < 0.65


def test_separable_classes_are_told_apart_and_random_ones_are_not() -> None:
    handle = bp.attach(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)), bp.Frozen())
    inputs = drawn(2000, 6)
    apart = inputs[inputs[:, 0].abs() > 0.3]
    split = Split(apart, (apart[:, 0] > 0).long())
    assert linear_probe(handle, split, split)["input"] == 1.0
    chance = torch.randint(4, (2000,), generator=torch.Generator().manual_seed(1))
    train, held_out = Split(inputs[:1000], chance[:1000]), Split(inputs[1000:], chance[1000:])
    for name, accuracy in linear_probe(handle, train, held_out).items():
        assert 0.2 < accuracy < 0.3, name  # four standard errors


def test_class_numbers_need_not_be_consecutive_and_unknown_ones_are_missed(
    net: nn.Sequential,
) -> None:
    handle = bp.attach(net, bp.Backprop())
    train, held_out = clouds(60), clouds(60, seed=1)
    expected = linear_probe(handle, train, held_out)
    far = [Split(s.inputs, (s.targets * 10**9 - 5).long()) for s in (train, held_out)]
    assert linear_probe(handle, *far) == expected
    small = [Split(s.inputs, s.targets.to(torch.uint8)) for s in (train, held_out)]
    assert linear_probe(handle, *small) == expected
    known = train.targets < 2
    part = Split(train.inputs[known], train.targets[known])
    assert max(linear_probe(handle, part, held_out).values()) <= 2 / 3


def test_it_repeats_itself_and_takes_no_notice_of_the_batch_size(net: nn.Sequential) -> None:
    handle = bp.attach(net, bp.DirectFeedbackAlignment())
    train, held_out = clouds(60), clouds(60, seed=1)
    first = linear_probe(handle, train, held_out, batch_size=60)
    torch.manual_seed(5)
    with torch.no_grad():
        assert linear_probe(handle, train, held_out, batch_size=60) == first
    assert linear_probe(handle, train, held_out, batch_size=7) == pytest.approx(first, abs=0.02)


def test_constant_features_are_left_out_also_where_they_change_later() -> None:
    train = drawn(50, 3)
    train[:, 1] = 0.1  # the mean of which is another float32 number
    targets = (train[:, 0] > 0).long()
    others = drawn(50, 3, seed=1)
    without = classify(train[:, [0, 2]], targets, others[:, [0, 2]])
    assert torch.equal(classify(train, targets, others), without)


class Wired(nn.Module):
    """Not a chain: hooks tap the blocks. One activation ends all of them, and works in place."""

    def __init__(self) -> None:
        super().__init__()
        act = nn.ReLU(inplace=True)
        self.body = nn.Sequential(nn.Linear(6, 5), act, nn.Linear(5, 5), act, nn.Linear(5, 3), act)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@pytest.mark.parametrize("model", [Wired, lambda: Wired().body], ids=["hooks", "chain"])
def test_blocks_that_share_their_last_module_are_told_apart(
    model: Callable[[], nn.Module],
) -> None:
    torch.manual_seed(0)
    built = model()
    body = built.body if isinstance(built, Wired) else built
    prefix = "body." if isinstance(built, Wired) else ""
    handle = bp.attach(built, bp.DirectFeedbackAlignment(), blocks=[f"{prefix}*"])
    found = block_outputs(handle, Split(drawn(9, 6), drawn(9)), 4)
    handle.remove()
    for name, stop in (("0", 2), ("2", 4), ("4", 6)):
        expected = body[:stop](drawn(9, 6)).detach()
        assert torch.allclose(found[prefix + name], expected, atol=1e-6)


class Spoils(nn.Module):
    """Works in place on what the block before it has put out."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.mul_(0))


def test_what_later_blocks_do_in_place_is_not_seen() -> None:
    model = nn.Sequential(nn.Linear(6, 5), Spoils())
    found = block_outputs(bp.attach(model, bp.Backprop()), Split(drawn(9, 6), drawn(9)), 4)
    assert torch.allclose(found["0"], model[0](drawn(9, 6)).detach(), atol=1e-6)
    assert found["0"].abs().min() > 0


class Several(nn.Module):
    """Return whole numbers, then what a layer makes, then something else."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        out = self.layer(x)
        return torch.arange(len(x)), {"first": out, "second": out * 0}


class TakesSeveral(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Several(), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x)[1]["first"])


def test_of_several_outputs_it_is_the_first_floating_one() -> None:
    model = TakesSeveral()
    handle = bp.attach(model, bp.Backprop(), blocks=["first", "second"])
    found = block_outputs(handle, Split(drawn(9, 6), drawn(9)), 4)
    assert torch.allclose(found["first"], model.first.layer(drawn(9, 6)).detach(), atol=1e-6)


def test_tokens_are_averaged_and_parameters_alone_left_out() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.place = nn.Parameter(drawn(4, 6))
            self.encoder = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
            self.head = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.encoder(x + self.place).mean(1))

    model = Tokens()
    rules = {"place": bp.Backprop(), "encoder": bp.Backprop(), "head": bp.Backprop()}
    x = drawn(9, 4, 6)
    found = block_outputs(bp.attach(model, rules), Split(x, x), 4)
    assert list(found) == ["encoder", "head"]
    model.eval()
    assert torch.allclose(found["encoder"], model.encoder(x + model.place).mean(1), atol=1e-5)


def test_maps_are_pooled_to_at_most_so_many_features() -> None:
    assert torch.equal(features_of(drawn(2, 2, 32, 32), CHANNELS), drawn(2, 2, 32, 32).flatten(1))
    assert features_of(drawn(2, 16, 32, 32), CHANNELS).shape == (2, 16 * 11 * 11)
    assert features_of(drawn(2, 3, 20, 80), CHANNELS).shape == (2, 3 * 20 * 26)
    assert features_of(drawn(2, 3000, 4, 4), CHANNELS).shape == (2, 3000)
    assert features_of(drawn(2, 4, 16, 16, 16), CHANNELS).shape == (2, 4 * 8 * 8 * 8)
    assert features_of(drawn(2, 5000), TOKENS).shape == (2, 5000)
    assert features_of(drawn(2), TOKENS).shape == (2, 1)
    halves = torch.cat([torch.zeros(1, 2, 64, 32), torch.ones(1, 2, 64, 32)], 3)
    assert features_of(halves, CHANNELS).mean() == 0.5
    pooled = features_of(drawn(3, 8, 32, 32), CHANNELS).view(3, 8, 16, 16)
    assert torch.allclose(pooled, F.avg_pool2d(drawn(3, 8, 32, 32), 2), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float64, torch.bfloat16])
def test_features_are_float32_whatever_they_come_as(dtype: torch.dtype) -> None:
    values = torch.arange(24).view(2, 3, 4).to(dtype)
    assert features_of(values, TOKENS).dtype == torch.float32
    assert features_of(values, TOKENS)[0].tolist() == [4, 5, 6, 7]


def test_a_raw_input_is_taken_whole_where_it_has_no_more_features() -> None:
    """Rows of an image are no tokens: their mean would hide from the probe what is there."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
    inputs = drawn(300, 2, 4)
    split = Split(inputs, (inputs[:, 0, 0] > inputs[:, 1, 0]).long())
    found = linear_probe(bp.attach(model, bp.Backprop()), split, split)
    assert found["input"] > 0.95


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        (torch.zeros(20), r"class numbers, \(n,\) whole numbers, not \(20,\) float32"),
        (torch.zeros(20, 2).long(), r"not \(20, 2\) int64"),
        (torch.zeros(20) > 0, r"not \(20,\) bool"),
    ],
    ids=["floats", "matrix", "bool"],
)
def test_targets_that_are_no_class_numbers_are_refused(
    net: nn.Sequential, batch: tuple[Tensor, Tensor], targets: Tensor, told: str
) -> None:
    handle, good, bad = bp.attach(net, bp.Backprop()), Split(*batch), Split(batch[0], targets)
    for pair in ((good, bad), (bad, good)):
        with pytest.raises(UserError, match=told):
            linear_probe(handle, *pair)


class Changes(nn.Module):
    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(x)


class Odd(nn.Module):
    """A first part whose output is whatever a function makes of it, and goes nowhere."""

    def __init__(self, change: Callable[[Tensor], Tensor], first: str = "first") -> None:
        super().__init__()
        self.add_module(first, nn.Sequential(nn.Linear(6, 5), Changes(change)))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        next(self.children())(x)
        return self.head(x)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda x: x.T, r"block 'first' returns \(5, 20\) for 20 samples"),
        (lambda x: x.sum(), r"block 'first' returns \(\) for 20 samples"),
        (lambda x: x.argmax(1), "block 'first' returns no floating-point tensor"),
        (lambda x: x / 0, "'first' holds values that are not finite"),
    ],
    ids=["rows", "scalar", "whole", "infinite"],
)
def test_a_block_without_an_output_to_classify_is_named(
    change: Callable[[Tensor], Tensor], told: str, batch: tuple[Tensor, Tensor]
) -> None:
    model = Odd(change)
    with pytest.raises(UserError, match=told):
        linear_probe(bp.attach(model, bp.Backprop()), Split(*batch), Split(*batch))
    assert not any(module._forward_hooks for module in model.modules())


def test_a_block_that_does_not_run_is_named(batch: tuple[Tensor, Tensor]) -> None:
    model = Odd(lambda x: x)
    model.add_module("idle", nn.Linear(2, 2))
    handle = bp.attach(model, bp.Backprop())
    with pytest.raises(UserError, match="block 'idle' did not run"):
        linear_probe(handle, Split(*batch), Split(*batch))


def test_a_block_named_like_the_raw_input_is_refused(batch: tuple[Tensor, Tensor]) -> None:
    handle = bp.attach(Odd(lambda x: x, "input"), bp.Backprop())
    with pytest.raises(UserError, match="'input' is the name of a probe's raw input"):
        linear_probe(handle, Split(*batch), Split(*batch))


def test_a_batch_size_of_zero_is_an_error(net: nn.Sequential, batch: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(UserError, match="at least 1, not 0"):
        linear_probe(bp.attach(net, bp.Backprop()), Split(*batch), Split(*batch), batch_size=0)
