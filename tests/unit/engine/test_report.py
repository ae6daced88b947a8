"""The report of an attachment says how axes are read."""

from xml.etree import ElementTree

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import beyondprop as bp
from beyondprop.engine.report import NAMED


class Encoder(nn.Module):
    """Words, two encoder layers, and a class for each sequence."""

    def __init__(self, layers=2):
        super().__init__()
        self.words = nn.Embedding(11, 8)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(8, 2, 16, dropout=0, batch_first=True) for _ in range(layers)
        )
        self.head = nn.Linear(8, 4)

    def forward(self, words):
        x = self.words(words)
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean(1))


BLOCKS = ["words", "layers.*", "head"]


def axes_notes(handle):
    return [note for note in handle.report.notes if note.startswith(("axes", "tokens"))]


def test_tokens_are_said_and_what_heads_make_of_them():
    handle = bp.attach(Encoder(), bp.LocalLoss(bp.CrossEntropy()), BLOCKS)
    assert axes_notes(handle) == [
        "axes, if an output has that many: words, layers.0, layers.1 batch tokens features",
        "tokens: the heads of words, layers.0, layers.1 average them, or read each one if "
        "each has its own target",
    ]
    assert axes_notes(handle)[1] in str(handle.report)


def test_heads_average_tokens_as_the_report_says():
    torch.manual_seed(0)
    model = Encoder()
    handle = bp.attach(model, bp.LocalLoss(bp.CrossEntropy()), BLOCKS)
    x, y = torch.randint(11, (5, 7)), torch.randint(4, (5,))
    with handle.targets(y):
        F.cross_entropy(model(x), y).backward()
    found = model.words.weight.grad.clone()
    weight, bias = handle.parameters()[:2]
    assert weight.shape == (4, 8)
    model.words.weight.grad = None
    handle.remove()
    F.cross_entropy(F.linear(model.words(x).mean(1), weight, bias), y).backward()
    torch.testing.assert_close(found, model.words.weight.grad)


def test_rules_without_heads_say_nothing_of_them():
    handle = bp.attach(Encoder(), bp.DirectFeedbackAlignment(), BLOCKS)
    (note,) = axes_notes(handle)
    assert note.startswith("axes")


def test_channels_are_said_beside_tokens():
    model = nn.Sequential(nn.Conv1d(3, 6, 3), nn.ReLU(), nn.LSTM(5, 8), nn.Linear(8, 4))
    handle = bp.attach(
        model,
        {"0": bp.LocalLoss(), "2": bp.LocalLoss(), "3": bp.Backprop()},
        axes={"2": "batch tokens features"},
    )
    axes, tokens = axes_notes(handle)
    assert axes.endswith(": 0 batch channels positions; 2 batch tokens features")
    assert tokens.startswith("tokens: the heads of 2 average them")


@pytest.mark.parametrize("rule", [bp.FeedbackAlignment(), bp.Backprop(), bp.Frozen()])
def test_rules_that_read_no_axes_say_nothing(rule):
    assert axes_notes(bp.attach(Encoder(), rule, BLOCKS)) == []


def test_a_network_without_positions_says_nothing():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 8), nn.Linear(8, 4))
    assert axes_notes(bp.attach(model, bp.LocalLoss())) == []


def test_what_the_user_says_is_reported():
    handle = bp.attach(Encoder(), bp.LocalLoss(), BLOCKS, axes="batch channels positions")
    assert axes_notes(handle) == [
        "axes, if an output has that many: words, layers.0, layers.1 batch channels positions"
    ]


def test_many_blocks_are_not_all_named():
    (axes,) = axes_notes(bp.attach(Encoder(NAMED + 3), bp.DirectFeedbackAlignment(), BLOCKS))
    assert "layers.4 and 4 more batch" in axes


def test_the_model_has_the_name_of_its_own_class():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    assert bp.attach(model, bp.DirectFeedbackAlignment()).report.model == "Sequential"


class TokensFirst(nn.Module):
    """Tokens go first, and only the recurrent layer shows it."""

    def __init__(self):
        super().__init__()
        self.words, self.read, self.head = nn.Embedding(11, 8), nn.GRU(8, 8), nn.Linear(8, 4)

    def forward(self, words):
        return self.head(self.read(self.words(words))[0])


def test_blocks_whose_axes_must_be_said_are_named():
    blocks = ["words", "read", "head"]
    model = TokensFirst()
    handle = bp.attach(model, bp.DirectFeedbackAlignment(), blocks)
    assert axes_notes(handle) == ["axes, if an output has that many: read tokens batch features"]
    note = handle.report.notes[-1]
    assert note.startswith("order of batch and tokens unknown")
    assert note.endswith("three or more axes: words, head")
    with pytest.raises(bp.UserError, match=r"handle\.report names these blocks"):
        model(torch.randint(11, (5, 2))).sum().backward()
    handle.remove()
    handle = bp.attach(model, bp.DirectFeedbackAlignment(), blocks, "tokens batch features")
    assert handle.report.notes == axes_notes(handle)
    handle.remove()
    assert not bp.attach(model, bp.FeedbackAlignment(), blocks).report.notes


def test_heads_average_tokens_that_come_first_too():
    rule, axes = bp.LocalLoss(bp.CrossEntropy()), {"read": "tokens batch features"}
    handle = bp.attach(TokensFirst(), rule, ["words", "read", "head"], axes)
    (note,) = axes_notes(handle)[1:]
    assert note.startswith("tokens: the heads of read average them")


def test_a_notebook_shows_the_report_of_a_handle():
    handle = bp.attach(Encoder(), bp.LocalLoss(bp.CrossEntropy()), BLOCKS)
    page = ElementTree.fromstring(handle._repr_html_())
    assert page.findtext(".//caption") == "Encoder: 4 blocks"
    rows = [row.findtext("td") for row in page.iter("tr")]
    assert rows == [None, "words", "layers.0", "layers.1", "head"]
    assert [each.text for each in page.findall("div")] == list(handle.report.notes)
