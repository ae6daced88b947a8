"""Tensors in nested containers."""

from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass

import torch
from hypothesis import given
from hypothesis import strategies as st

from beyondprop._torch.pytrees import leaves, replaced

Pair = namedtuple("Pair", "first second")


@dataclass
class Box:
    tensor: object
    label: str = "box"


def tensor(number):
    return torch.tensor(float(number))


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


def test_mappings_keep_their_kind_where_it_can_be_built():
    ordered = replaced(OrderedDict(a=tensor(1)), lambda t: t + 1)
    assert isinstance(ordered, OrderedDict)
    counted = replaced(defaultdict(list, a=tensor(1)), lambda t: t + 1)
    assert counted == {"a": tensor(2)}
