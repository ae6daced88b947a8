"""Taking a network apart: which parts can be replaced, and what each gets and gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.models.resnet import resnet20
from beyondprop.models.transformer import gpt
from beyondprop.neighbourhoods import calls, check_pieces, layouts, merged, split


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
        ([("0", "2")], "is no run of one nn.Sequential"),
        ([("2", "1")], "is no run of one nn.Sequential"),
        ([("0", "7")], "names '7', which is no module"),
        ([()], "which is no module"),
        ([("0", "1"), "1"], "'0' and '1' both hold '1'"),
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
    with pytest.raises(UserError, match="two samples at least"):
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
    with pytest.raises(UserError, match=r"as 'chain.0' the model's output changes: .* cut"):
        check_pieces(model, split(model, [("chain.0", "chain.1", "chain.2")]), torch.randn(2, 4))
