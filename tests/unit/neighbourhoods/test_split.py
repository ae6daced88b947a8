"""Taking a network apart: which parts can be replaced, and what each gets and gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.models.resnet import resnet20
from beyondprop.models.transformer import gpt
from beyondprop.neighbourhoods import (
    calls,
    check_pieces,
    interfaces,
    layouts,
    make,
    merged,
    split,
)
from beyondprop.neighbourhoods.interfaces import built


class Skipping(nn.Module):
    """A residual block made of a chain, from whose middle a skip connection leads to the end."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Any:
        middle = self.chain[0](x)
        return self.out(middle + self.chain[2](self.chain[1](middle)))


class Boundaries(nn.Module):
    """A block with several arguments, a mask for all samples, and a dictionary as output."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.ones(x.shape[1], device=x.device)
        found = self.inner(x, (x + 1, mask), scale=2.0, nothing=None)
        made: Tensor = found["sum"] + found["parts"][0]
        return made


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: Tensor, more: tuple[Tensor, Tensor], scale: float, nothing: None) -> Any:
        assert nothing is None
        y = self.layer(x * more[1]) * scale + more[0]
        return {"sum": y, "parts": [y * 2, "told"]}


def chain() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 2)
    ).eval()


def test_a_pattern_names_a_neighbourhood_each() -> None:
    model = gpt(7, 8, 8, 3, 2).eval()
    found = split(model, ["layers.*", "embed"])
    assert [each.name for each in found] == ["embed", "layers.0", "layers.1", "layers.2"]
    assert found[1].piece(model) is model.layers[0]


def test_a_tuple_names_a_run_of_a_chain() -> None:
    model, x = chain(), torch.randn(6, 3)
    (found,) = split(model, [("0", "1", "2")])
    assert torch.equal(found.piece(model)(x), model[:3](x))
    copy = merged(model, {found: nn.Linear(3, 5)})
    assert isinstance(copy[0], nn.Linear)
    assert [type(copy[place]) for place in (1, 2)] == [nn.Identity, nn.Identity]
    assert copy(x).shape == (6, 2)
    assert isinstance(model[1], nn.Tanh)


@pytest.mark.parametrize(
    ("blocks", "why"),
    [
        (["layer"], "'layer' names no module of the model, which has 0, 1, 2, 3, 4"),
        ([("0", "2")], "is not a run of modules in one nn.Sequential"),
        ([("2", "1")], "is not a run of modules in one nn.Sequential"),
        ([("0", "7")], "names '7', which is not a module"),
        ([()], "which is not a module"),
        ([("0", "1"), "1"], "'0' and '1' both hold '1'"),
        ([], "blocks is empty"),
        ("0", r"blocks must be a list of names: \['0'\]"),
    ],
)
def test_what_is_no_neighbourhood_is_told(blocks: Any, why: str) -> None:
    with pytest.raises(UserError, match=why):
        split(chain(), blocks)


def test_shared_modules_and_weights_are_refused() -> None:
    model = chain()
    model[3] = model[2]
    with pytest.raises(UserError, match="'2' of the neighbourhood '2' is '3' too"):
        split(model, ["2"])
    model = chain()
    model[0] = nn.Linear(5, 5)
    model[2].weight = model[0].weight
    with pytest.raises(UserError, match=r"'2.weight' of the neighbourhood '2' is '0.weight' too"):
        split(model, ["2"])


def test_calls_are_what_pieces_get_and_give() -> None:
    model, x = resnet20().eval(), torch.randn(3, 3, 32, 32)
    wanted = split(model, ["stem", "layers.*"])
    found = calls(model, wanted, x)
    assert list(found) == [each.name for each in wanted]
    for each in wanted:
        given = found[each.name]
        assert torch.equal(given.of(each.piece(model)), given.output)
    assert torch.equal(found["layers.0"].inputs[0], found["stem"].output)


def test_nothing_behind_the_last_neighbourhood_is_computed() -> None:
    model = chain()
    ran: list[int] = []
    model[4].register_forward_hook(lambda *_: ran.append(1))
    calls(model, split(model, ["0", "2"]), torch.randn(2, 3))
    assert not ran
    calls(model, split(model, ["0", "2"]), torch.randn(2, 3), whole=True)
    assert ran


def test_what_a_call_holds_besides_rows_is_the_same_in_all() -> None:
    model, x = Boundaries().eval(), torch.randn(5, 3)
    wanted = split(model, ["inner"])
    layout = layouts(model, wanted, x)["inner"]
    assert layout.rows == (True, True, False, True, True)
    found = calls(model, wanted, x)["inner"]
    again = layout.call_of(layout.flat(found))
    assert again.keywords == {"scale": 2.0, "nothing": None}
    assert again.output["parts"][1] == "told"
    made = again.of(wanted[0].piece(model))
    assert torch.equal(made["sum"], found.output["sum"])
    assert torch.equal(again.arguments[1][1], torch.ones(3))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.never = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(self.layer(x))
        return out


class Flattening(nn.Module):
    """Gives its layer all tokens of all samples as rows."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x.flatten(0, 1)).view(x.shape)
        return out


def test_parts_that_cannot_be_trained_alone_are_refused() -> None:
    x = torch.randn(4, 3)
    twice = Twice().eval()
    with pytest.raises(UserError, match="'layer' runs more than once in a pass"):
        layouts(twice, split(twice, ["layer"]), x)
    with pytest.raises(UserError, match="'never' does not run when the model does"):
        layouts(twice, split(twice, ["never"]), x)
    flattening = Flattening().eval()
    with pytest.raises(UserError, match=r"shape \(10, 3\) for two samples and \(5, 3\) for one"):
        layouts(flattening, split(flattening, ["layer"]), torch.randn(4, 5, 3))
    with pytest.raises(UserError, match="at least two samples"):
        layouts(twice, split(twice, ["layer"]), x[:1])
    with pytest.raises(UserError, match=r"the teacher is in training mode \(the model\)"):
        calls(Twice(), split(twice, ["layer"]), x)


def test_the_teachers_pieces_give_the_teachers_output() -> None:
    model, x = resnet20().eval(), torch.randn(2, 3, 32, 32)
    check_pieces(model, split(model, ["stem", "layers.*"]), x)
    check_pieces(chain(), split(chain(), [("0", "1"), "4"]), torch.randn(2, 3))


def test_a_cut_skip_connection_is_told() -> None:
    model = Skipping().eval()
    check_pieces(model, split(model, ["chain.0", "chain.2"]), torch.randn(2, 4))
    with pytest.raises(UserError, match=r"for 'chain.0' the model gives another output: .* skip"):
        check_pieces(model, split(model, [("chain.0", "chain.1", "chain.2")]), torch.randn(2, 4))


class Outer(nn.Module):
    """Uses two layers in the way that a subclass says."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)


class Listed(Outer):
    """Holds its layers in a plain list too, and calls them there."""

    def __init__(self) -> None:
        super().__init__()
        self.order = [self.one, self.two]

    def forward(self, x: Tensor) -> Tensor:
        for each in self.order:
            x = each(x)
        return x


class Tied(Outer):
    """Uses a layer's weight."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(self.two(self.one(x)), self.one.weight.T)


class Reading(Outer):
    """Reads numbers of a layer."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.two(self.one(x)[:, : self.one.out_features])
        return out


class Ignoring(Outer):
    """Makes nothing of what a layer gives."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.two(x) + 0 * self.one(x)
        return out


class Asserting(Outer):
    """Knows one class of layers alone."""

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.one, nn.Linear)
        out: Tensor = self.two(self.one(x))
        return out


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Listed, "'one' is not called by that name: .* such as a plain list"),
        (
            Tied,
            r"for 'one' the model fails \(AttributeError: it uses 'weight' "
            r"\(test_split\.py, line \d+\)\): it uses the inside",
        ),
        (Ignoring, "what 'one' returns does not reach the model's output"),
        (Asserting, "for 'one' the model fails"),
    ],
)
def test_a_module_that_no_other_can_replace_is_told(kind: type[Outer], why: str) -> None:
    model = kind().eval()
    state = {name: each.clone() for name, each in model.state_dict().items()}
    with pytest.raises(UserError, match=why):
        check_pieces(model, split(model, ["one"]), torch.randn(2, 4))
    assert all(torch.equal(state[name], each) for name, each in model.state_dict().items())


def test_plain_values_that_the_model_reads_must_be_the_students_too() -> None:
    model, x = Reading().eval(), torch.randn(2, 4)
    wanted = split(model, ["one", "two"])
    assert check_pieces(model, wanted, x) == {"one": {"out_features"}, "two": set()}
    layout = interfaces(model, wanted, x)["one"]
    assert isinstance(built(make("copy"), model.one, layout), nn.Linear)
    with pytest.raises(UserError, match="reads 'out_features' from this piece, which a Identity"):
        built(make("identity"), model.one, layout)


def test_layers_of_pytorchs_transformer_can_be_replaced() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    found = check_pieces(model, split(model, ["layers.*"]), torch.randn(2, 3, 8))
    assert found == {"layers.0": {"self_attn.batch_first"}, "layers.1": set()}


class Cancelling(Outer):
    """Asks whether both layers are its own."""

    def forward(self, x: Tensor) -> Tensor:
        own = isinstance(self.one, nn.Linear) or isinstance(self.two, nn.Linear)
        out: Tensor = self.two(self.one(x)) + own
        return out


def test_all_are_replaced_at_once() -> None:
    model = Cancelling().eval()
    check_pieces(model, split(model, ["one"]), torch.randn(2, 4))
    with pytest.raises(UserError, match="all neighbourhoods are replaced together"):
        check_pieces(model, split(model, ["one", "two"]), torch.randn(2, 4))


class Dropping(Outer):
    """Drops features also in eval mode."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.two(nn.functional.dropout(self.one(x), training=True))
        return out


def test_a_teacher_that_gives_another_output_each_time_is_told() -> None:
    model = Dropping().eval()
    with pytest.raises(UserError, match="output changes when it is called again"):
        check_pieces(model, split(model, ["one"]), torch.randn(8, 4))
