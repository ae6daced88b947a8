"""One batch through an attached model: every figure against one that is worked out by hand."""

from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from tests.unit.measure.conftest import small_net
from torch import nn

import beyondprop as bp
from beyondprop import rules
from beyondprop.errors import UserError
from beyondprop.measure import check_batch

X = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
Y = torch.arange(20) % 3


def chain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, 3))


def checked(rule, model=None, **settings):
    handle = bp.attach(chain() if model is None else model, rule)
    return handle, check_batch(handle, X, targets=Y, **settings)


@pytest.mark.parametrize("name", ["backprop", "fa", "dfa", "drtp", "dgl", "frozen", "pc"])
def test_calls_shapes_and_axes_are_those_of_the_blocks(name):
    _, report = checked(rules.make(name))
    assert [row.block for row in report.rows] == ["0", "2", "4"]
    assert [row.calls for row in report.rows] == [1, 1, 1]
    assert [row.shapes for row in report.rows] == [((20, 8),), ((20, 7),), ((20, 3),)]
    assert {row.axes for row in report.rows} == {"batch features"}
    assert not report.notes


@pytest.mark.parametrize(
    ("name", "hidden", "isolation"),
    [
        ("backprop", "exact", "dependent"),
        ("fa", "the rule's", "dependent"),
        ("dfa", "the rule's", "isolated"),
        ("drtp", "the rule's", "isolated"),
        ("dgl", "the rule's", "isolated"),
        ("frozen", "none", "not taught"),
        ("pc", "the rule's", "dependent"),
    ],
)
def test_gradients_are_those_of_an_ordinary_step(name, hidden, isolation):
    handle, report = checked(rules.make(name))
    plain = chain()
    F.cross_entropy(plain(X), Y).backward()
    with handle.targets(Y):
        F.cross_entropy(handle.model(X), Y).backward()
    for row, block in zip(report.rows, (0, 2, 4), strict=True):
        pairs = zip(handle.model[block].parameters(), plain[block].parameters(), strict=True)
        found = [
            "none" if p.grad is None
            else "exact" if torch.allclose(p.grad, q.grad, rtol=1e-3, atol=1e-7)
            else "the rule's"
            for p, q in pairs
        ]  # fmt: skip
        assert row.gradients == {kind: found.count(kind) for kind in found}
        assert row.reached == (0 if "none" in found else 1)
    assert [row.gradients for row in report.rows[:2]] == [{hidden: 2}] * 2
    words = [row.isolation.partition(":")[0] for row in report.rows]
    assert words == [isolation, isolation, "last"]


@pytest.mark.parametrize(
    ("name", "sizes", "stored"),
    [
        ("backprop", [[], [], []], 0),
        ("frozen", [[], [], []], 0),
        ("fa", [[], [(7, 8)], [(3, 7)]], 4 * (56 + 21)),  # the first layer sends nothing back
        ("kp", [[(8, 6)], [(7, 8)], [(3, 7)]], 4 * (48 + 56 + 21)),
        ("dfa", [[(3, 8)], [(3, 7)], []], 4 * (24 + 21)),
        ("drtp", [[(3, 8)], [(3, 7)], []], 4 * (24 + 21)),
        ("dkp", [[(3, 8)], [(3, 7)], []], 4 * (24 + 21)),
        ("dgl", [[(3, 8), (3,)], [(3, 7), (3,)], []], 4 * (24 + 3 + 21 + 3)),
    ],
)
def test_feedback_and_heads_have_their_sizes(name, sizes, stored):
    rule = rules.make(name)
    _, report = checked(rule)
    assert [[matrix.shape for matrix in row.feedback] for row in report.rows] == sizes
    assert report.stored == stored
    if name in ("fa", "dfa", "drtp"):
        drawn = rule.projection._drawn.values()
        assert stored == sum(matrix.numel() * matrix.element_size() for matrix in drawn)


def test_a_matrix_that_blocks_share_counts_once():
    model = nn.Sequential(
        nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
    ).double()
    handle = bp.attach(model, bp.DirectFeedbackAlignment())
    report = check_batch(handle, X.double(), targets=Y)
    assert [matrix.bytes for row in report.rows for matrix in row.feedback] == [192, 192]
    assert report.stored == 192
    assert "feedback in all: 192 B" in str(report)
    assert "feedback in all: 192 B" in report._repr_html_()


def test_what_is_drawn_anew_takes_nothing():
    _, report = checked(bp.DirectFeedbackAlignment(bp.projections.Streamed()))
    assert [row.feedback[0].bytes for row in report.rows[:2]] == [0, 0]


@pytest.mark.parametrize("name", ["backprop", "fa", "kp", "dfa", "drtp", "dgl", "ebd", "frozen"])
def test_it_leaves_no_trace(name):
    torch.manual_seed(3)
    model = small_net()
    handle = bp.attach(model, rules.make(name))
    model[1].eval()
    with handle.targets(Y):
        F.cross_entropy(model(X), Y).backward()
    learned = [*model.parameters(), *handle.parameters()]
    grads = [p.grad for p in learned]
    before = deepcopy([model.state_dict(), handle.state_dict(), grads, torch.get_rng_state()])
    versions = [p._version for p in learned]
    check_batch(handle, X, targets=Y)
    assert all(p.grad is grad for p, grad in zip(learned, grads, strict=True))
    assert versions == [p._version for p in learned]
    after = [model.state_dict(), handle.state_dict(), grads, torch.get_rng_state()]
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert [module.training for module in model] == [i != 1 for i in range(7)]
    assert not any(module._forward_pre_hooks for module in model)


def test_a_head_without_a_shape_has_none_afterwards():
    handle, _ = checked(bp.LocalLoss())
    assert all(nn.parameter.is_lazy(p) for p in handle.parameters())


class Wired(nn.Module):
    """A list that is never called as a whole, a layer that never runs, and a spare parameter."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.layers = nn.ModuleList([nn.Linear(8, 8)])
        self.unused = nn.Linear(8, 8)
        self.head = Head()

    def forward(self, x):
        return self.head(torch.tanh(self.layers[0](torch.tanh(self.stem(x)))))


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.spare = nn.Linear(8, 3), nn.Parameter(torch.ones(9))

    def forward(self, x):
        return self.layer(x)


def test_what_does_not_run_is_told():
    handle = bp.attach(Wired(), bp.Backprop(), ["stem", "layers", "unused", "head"])
    report = check_batch(handle, X, targets=Y)
    assert [row.calls for row in report.rows] == [1, 0, 0, 1]
    assert [row.reached for row in report.rows] == [1, 1, 0, 27 / 36]
    assert report.notes == (
        "block 'layers' was never called as a whole, though parts of it ran",
        "block 'unused' was never called: name modules that the model's forward pass calls",
        "no gradient reached: unused.weight, unused.bias, head.spare",
    )


def test_a_list_as_a_block_is_refused_in_a_sentence():
    handle = bp.attach(Wired(), bp.DirectFeedbackAlignment(), ["stem", "layers", "unused", "head"])
    with pytest.raises(bp.UserError, match="'layers' was never called: name its children instead"):
        check_batch(handle, X, targets=Y)


class Opaque(nn.Linear):
    def forward(self, x):
        return SimpleNamespace(value=super().forward(x))


class Taking(nn.Linear):
    def forward(self, x):
        return super().forward(x.value)


def test_an_output_that_cannot_be_looked_into_is_told():
    handle = bp.attach(nn.Sequential(Opaque(6, 8), Taking(8, 3)), bp.Backprop())
    report = check_batch(handle, X, targets=Y)
    assert report.rows[0].shapes == ()
    assert "block '0' returns a SimpleNamespace, which cannot be looked into" in report.notes[0]


class SideExit(nn.Module):
    """Its last layer's errors reach the first without a weight in between."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, x):
        return self.first(x) + self.second(x)


def test_an_exact_gradient_under_a_rule_is_told():
    handle = bp.attach(SideExit(), bp.FeedbackAlignment(), ["first", "second"])
    report = check_batch(handle, X, targets=Y)
    said = "the gradient is exact, although a rule is attached: first.weight, first.bias"
    assert report.notes == (said,)


def test_a_batch_of_one_and_batch_norm_are_told():
    flat = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    with pytest.raises(bp.UserError, match="BatchNorm needs more than a batch of one"):
        check_batch(bp.attach(flat, bp.Backprop()), X[:1], targets=Y[:1])
    maps = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 3))
    report = check_batch(bp.attach(maps, bp.Backprop()), torch.randn(1, 1, 6, 6), targets=Y[:1])
    assert report.notes == ("BatchNorm needs more than a batch of one (1): give several samples",)
    assert report.rows[0].shapes == ((1, 32),)


def test_a_gradient_of_zeros_is_told():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        model[0].bias.fill_(-1000)
    _, report = checked(bp.Backprop(), model)
    assert report.rows[0].gradients == {"zeros": 2}
    assert report.notes == ("a gradient of zeros reached: 0.weight, 0.bias, 2.weight",)


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x, *, factor):
        hidden = self.layer(x) * factor
        return {"scores": self.head(hidden), "hidden": hidden}


def test_losses_and_keywords_are_the_callers():
    handle = bp.attach(Named(), bp.Backprop())
    with pytest.raises(bp.UserError, match="the model returns 2 tensors: give loss="):
        check_batch(handle, X, targets=Y, factor=2)

    def loss(outputs, targets):
        return F.cross_entropy(outputs["scores"], targets)

    assert check_batch(handle, X, targets=Y, loss=loss, factor=2).rows[0].reached == 1
    assert check_batch(handle, X, factor=2).rows[0].reached == 1
    with pytest.raises(bp.UserError, match="loss= must return one number"):
        check_batch(handle, X, targets=Y, loss=lambda outputs, _: outputs["scores"], factor=2)


def test_targets_that_are_values_are_met_by_the_squared_error():
    handle = bp.attach(chain(), bp.Backprop())
    assert check_batch(handle, X, targets=torch.zeros(20, 3)).rows[0].gradients == {"exact": 2}
    with pytest.raises(bp.UserError, match="do not fit an output of shape"):
        check_batch(handle, X, targets=torch.zeros(20, 1))


def test_tokens_have_targets_of_their_own():
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 9))
    tokens = torch.arange(12).view(2, 6) % 9
    report = check_batch(bp.attach(model, bp.DirectFeedbackAlignment()), tokens, targets=tokens)
    assert [row.shapes for row in report.rows] == [((2, 6, 4),), ((2, 6, 5),), ((2, 6, 9),)]
    assert [row.axes for row in report.rows] == ["batch tokens features"] * 3
    assert [row.feedback[0].shape for row in report.rows[:2]] == [(9, 4), (9, 5)]


def test_what_fails_is_one_sentence():
    with pytest.raises(bp.UserError, match="one batch could not be run: RuntimeError: mat1"):
        check_batch(bp.attach(chain(), bp.Backprop()), torch.randn(3, 5))


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.5, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.layer(x).mean(1))


def test_masks_that_differ_do_not_hide_an_exact_gradient():
    torch.manual_seed(0)
    handle = bp.attach(Attending(), bp.FeedbackAlignment(), ["layer", "head"])
    report = check_batch(handle, X.view(5, 4, 6), targets=Y[:5])
    assert report.rows[1].gradients == {"exact": 2}
    assert set(report.rows[0].gradients) == {"the rule's"}
    assert [str(matrix) for matrix in report.rows[0].feedback] == [
        "self_attn.out_proj.weight 6×6",
        "linear1.weight 8×6",
        "linear2.weight 6×8",
    ]


def test_feedback_that_is_no_matrix_is_called_so():
    rule = bp.DirectFeedbackAlignment(bp.projections.BySize(above=1))
    model = nn.Sequential(nn.Linear(40, 1024), nn.Tanh(), nn.Linear(1024, 1000))
    handle = bp.attach(model, rule)
    report = check_batch(handle, torch.ones(2, 40), targets=torch.arange(2))
    assert "feedback by hadamard 1000×1024" in str(report)


class Scored(nn.Module):
    """A model that computes its own loss, behind a head that is no block."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 7)
        self.norm, self.head = nn.LayerNorm(7), nn.Linear(7, 3)

    def forward(self, x, labels):
        h = torch.tanh(self.second(torch.tanh(self.first(x))))
        logits = self.head(self.norm(h))
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


@pytest.mark.parametrize("name", ["dfa", "drtp", "dgl"])
def test_the_error_is_held_where_it_is_taken_in_a_model_with_its_own_loss(name):
    rule = rules.make(name)
    blocks = ["first", "second"]
    handle = bp.attach(Scored(), rule, blocks, output="norm", targets="labels")
    report = check_batch(handle, x=X, labels=Y)
    assert [row.isolation.partition(":")[0] for row in report.rows] == [*["isolated"] * 2, "last"]
    assert [row.gradients for row in report.rows[:2]] == [{"the rule's": 2}] * 2
    assert report.rows[2].gradients == {"exact": 2}
    if name == "dfa":
        assert [[m.shape for m in row.feedback] for row in report.rows] == [[(7, 8)], [(7, 7)], []]


def test_backprop_is_not_isolated_before_the_place_of_the_error_either():
    handle = bp.attach(Scored(), bp.Backprop(), ["first", "second"], output="norm")
    report = check_batch(handle, x=X, labels=Y)
    words = [row.isolation.partition(":")[0] for row in report.rows]
    assert words == ["dependent", "dependent", "last"]


def test_a_pass_that_fails_before_a_head_has_a_shape_says_why():
    handle = bp.attach(chain(), bp.LocalLoss())
    with pytest.raises(UserError, match="cannot be multiplied"):
        check_batch(handle, X[:, :5], targets=Y)
    assert any(nn.parameter.is_lazy(p) for p in handle.parameters())
