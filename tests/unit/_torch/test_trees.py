"""Tensors in nested containers."""

from collections import OrderedDict, UserDict, defaultdict, namedtuple
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field, fields
from types import MappingProxyType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_sequence

import beyondprop as bp
from beyondprop._torch.pytrees import leaves, replaced

Pair = namedtuple("Pair", "first second")


@dataclass
class Box:
    tensor: object
    label: str = "box"


def tensor(number):
    return torch.tensor(float(number))


def plus_one(value):
    return replaced(value, lambda t: t + 1)


def numbers(value):
    return [t.item() for t in leaves(value)]


trees = st.recursive(
    st.integers(0, 9).map(tensor) | st.none() | st.text(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.builds(Pair, inner, inner)
        | st.builds(Box, inner)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(trees)
def test_replaced_keeps_structure_and_reaches_every_leaf(tree):
    doubled = replaced(tree, lambda t: 2 * t)
    assert [2 * t.item() for t in leaves(tree)] == [t.item() for t in leaves(doubled)]
    assert type(doubled) is type(tree)
    back = replaced(doubled, lambda t: t / 2)
    assert repr(back) == repr(tree)


class Noted(dict):
    """A dictionary that another constructor makes."""

    def __init__(self, note, tensor):
        super().__init__(a=tensor)
        self.note = note


class Attributes(dict):
    """The known idiom for dictionaries whose items are attributes."""

    def __init__(self, *items, **more):
        super().__init__(*items, **more)
        self.__dict__ = self


class Batch(UserDict):
    note = None


class ReadOnly(Mapping):
    def __init__(self, items):
        self._items = dict(items)

    def __getitem__(self, key):
        return self._items[key]

    def __iter__(self):
        return iter(self._items)

    def __len__(self):
        return len(self._items)


def noted(container, note="kept"):
    container.note = note
    return container


@pytest.mark.parametrize(
    "made",
    [
        OrderedDict(a=tensor(1)),
        defaultdict(list, a=tensor(1)),
        Noted("kept", tensor(1)),
        Attributes(a=tensor(1)),
        noted(Batch(a=tensor(1))),
        ReadOnly({"a": tensor(1)}),
        MappingProxyType({"a": tensor(1)}),
    ],
    ids=lambda made: type(made).__name__,
)
def test_mappings_keep_their_type_and_attributes(made):
    found = plus_one(made)
    assert type(found) is type(made)
    assert dict(found) == {"a": tensor(2)}
    assert dict(made) == {"a": tensor(1)}
    assert getattr(found, "note", None) == getattr(made, "note", None)
    assert getattr(found, "default_factory", None) is getattr(made, "default_factory", None)
    assert getattr(found, "a", tensor(2)) == tensor(2)


class Outputs(OrderedDict):
    """As Hugging Face's ModelOutput: a dictionary and a dataclass, without the fields of None."""

    def __post_init__(self):
        for one in fields(self):
            if getattr(self, one.name) is not None:
                self[one.name] = getattr(self, one.name)

    def __setattr__(self, name, value):
        if name in self and value is not None:
            super().__setitem__(name, value)
        super().__setattr__(name, value)

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        super().__setattr__(key, value)

    def __reduce__(self):
        callable_, _, *rest = super().__reduce__()
        return callable_, tuple(getattr(self, one.name) for one in fields(self)), *rest


@dataclass
class Answer(Outputs):
    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    states: tuple | None = None


def test_a_dataclass_that_is_a_dictionary_keeps_both_alike():
    made = Answer(logits=tensor(1), states=(tensor(2), tensor(3)))
    made["more"] = tensor(4)
    assert numbers(made) == [1, 2, 3, 4]
    found = plus_one(made)
    assert type(found) is Answer
    assert list(found) == ["logits", "states", "more"]
    assert found.loss is None
    assert found.logits is found["logits"]
    assert found.states is found["states"]
    assert found.more is found["more"]
    assert numbers(found) == [2, 3, 4, 5]
    assert numbers(made) == [1, 2, 3, 4]


@dataclass(frozen=True)
class Frozen:
    tensor: torch.Tensor


@dataclass(frozen=True, slots=True)
class Slots:
    tensor: torch.Tensor


@dataclass
class Derived:
    scale: InitVar[float]
    tensor: torch.Tensor
    derived: torch.Tensor = field(init=False)
    unset: torch.Tensor = field(init=False)

    def __post_init__(self, scale):
        self.derived = self.tensor * scale


@pytest.mark.parametrize("kind", [Frozen, Slots])
def test_frozen_dataclasses(kind):
    made = kind(tensor(1))
    found = plus_one(made)
    assert (type(found), found.tensor, made.tensor) == (kind, tensor(2), tensor(1))


def test_every_field_of_a_dataclass_is_looked_into():
    made = noted(Derived(10.0, tensor(1)))
    made.derived = tensor(5)
    found = plus_one(made)
    assert (found.tensor, found.derived, found.note) == (tensor(2), tensor(6), "kept")
    assert not hasattr(found, "unset")


class Named(namedtuple("Base", "first second")):
    def __new__(cls, both):
        return super().__new__(cls, both, both)


class Rows(tuple):
    def __new__(cls, note, *items):
        return noted(super().__new__(cls, items), note)


class Several(list):
    def __init__(self, note, *items):
        super().__init__(items)
        self.note = note


@pytest.mark.parametrize(
    "made",
    [Named(tensor(1)), Rows("kept", tensor(1), tensor(1)), Several("kept", tensor(1), tensor(1))],
    ids=lambda made: type(made).__name__,
)
def test_sequences_keep_their_type_and_attributes(made):
    found = plus_one(made)
    assert type(found) is type(made)
    assert [t.item() for t in (*found, *made)] == [2, 2, 1, 1]
    assert getattr(found, "note", None) == getattr(made, "note", None)


def test_pytorchs_own_tuples():
    made = torch.tensor([[1.0, 3.0]]).max(1)
    found = plus_one(made)
    assert type(found) is torch.return_types.max
    assert (found.values.item(), found.indices.item()) == (4, 2)
    packed = pack_sequence([torch.ones(2, 1), torch.ones(1, 1)])
    found = replaced(packed, lambda t: t + 1 if t.is_floating_point() else t)
    assert type(found) is type(packed)
    assert found.data.tolist() == [[2], [2], [2]]


class Attrs:
    def __init__(self):
        self.tensor = tensor(1)


@pytest.mark.parametrize(
    "made",
    [torch.zeros(2, 3).shape, {tensor(1)}, frozenset([tensor(1)]), Attrs(), Box, [None, {"a": 1}]],
    ids=lambda made: type(made).__name__,
)
def test_all_else_is_left_as_it_is(made):
    assert not list(leaves(made))
    assert plus_one(made) is made


class Stubborn(ReadOnly):
    def __init__(self, note, items):
        super().__init__(items)
        self.note = note


def test_what_cannot_be_copied_is_named():
    with pytest.raises(bp.UserError, match="returns a Stubborn, which cannot be copied with other"):
        plus_one(Stubborn("a", {"a": tensor(1)}))


def test_a_tensor_that_is_there_twice_counts_once():
    one, two = tensor(1), tensor(2)
    value = (one, {"again": one, "other": two}, [two, one])
    assert numbers(value) == [1, 2]
    first, inner, (last, again) = plus_one(value)
    assert first is inner["again"] is again
    assert last is inner["other"]
    assert numbers((first, last)) == [2, 3]
