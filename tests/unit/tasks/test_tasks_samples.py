"""Samples in memory and of datasets: a batch of rows is those rows of the whole."""

from collections import namedtuple
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_sequence
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from beyondprop._torch.pytrees import leaves
from beyondprop.errors import UserError
from beyondprop.tasks import Data, DatasetSplit, Split, arguments_of, from_dataset

Two = namedtuple("Two", ["left", "right"])

SHAPES = st.lists(st.integers(1, 3), max_size=2).map(tuple)


@st.composite
def splits(draw: st.DrawFn) -> tuple[Split, list[int]]:
    """A split of containers of tensors, and numbers of some of its rows."""
    n = draw(st.integers(1, 7))

    def tensor() -> Tensor:
        return torch.randn(n, *draw(SHAPES), generator=torch.Generator().manual_seed(n))

    kinds = {
        "tensor": tensor,
        "tuple": lambda: (tensor(), tensor()),
        "list": lambda: [tensor()],
        "dict": lambda: {"a": tensor(), "b": (tensor(), None)},
        "named": lambda: Two(tensor(), {"x": tensor()}),
    }
    inputs, targets = (kinds[draw(st.sampled_from(sorted(kinds)))]() for _ in "xy")
    return Split(inputs, targets), draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=9))


@settings(max_examples=80, deadline=None)
@given(splits())
def test_a_batch_is_the_rows_of_the_whole(given_: tuple[Split, list[int]]) -> None:
    split, rows = given_
    found = split.batch(torch.tensor(rows))
    whole = split.inputs, split.targets
    assert [type(each) for each in found] == [type(each) for each in whole]
    for part, all_ in zip(leaves(found), leaves(whole), strict=True):
        assert torch.equal(part, torch.stack([all_[row] for row in rows]))
    for part, all_ in zip(leaves(split.batch(slice(0, 2))), leaves(whole), strict=True):
        assert torch.equal(part, all_[:2])


@settings(max_examples=40, deadline=None)
@given(splits(), st.integers(1, 9))
def test_batches_are_all_samples_in_order(given_: tuple[Split, list[int]], size: int) -> None:
    split, _ = given_
    parts = [list(leaves(batch)) for batch in split.batches(size)]
    for joined, all_ in zip(
        zip(*parts, strict=True), leaves(split.batch(slice(None))), strict=True
    ):
        assert torch.equal(torch.cat(joined), all_)
    assert sum(len(each[0]) for each in parts) == len(split)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 8), seed=st.integers(0, 99), data=st.data())
def test_a_dataset_of_tensors_gives_the_batches_of_these(
    n: int, seed: int, data: st.DataObject
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(n, 3, generator=generator), torch.randint(4, (n,), generator=generator)
    rows = torch.tensor(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=9)))
    split = from_dataset(TensorDataset(x, y))
    wanted = Split(x, y)
    for asked in (rows, slice(0, n, 2), slice(None)):
        pairs = zip(split.batch(asked), wanted.batch(asked), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    some = zip(split.some(rows).batch(slice(None)), wanted.batch(rows), strict=True)
    assert all(torch.equal(a, b) for a, b in some)


def padded(samples: list[tuple[list[int], int]]) -> tuple[Tensor, Tensor]:
    texts = [torch.tensor(text) for text, _ in samples]
    return pad_sequence(texts, batch_first=True), torch.tensor([label for _, label in samples])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=1, max_size=8),
    st.integers(1, 4),
)
def test_ragged_texts_are_padded_batch_by_batch(texts: list[list[int]], size: int) -> None:
    split = from_dataset([(text, len(text)) for text in texts], collate=padded)
    for begin, (words, lengths) in zip(
        range(0, len(texts), size), split.batches(size), strict=True
    ):
        own = texts[begin : begin + size]
        assert words.shape == (len(own), max(map(len, own)))
        assert lengths.tolist() == list(map(len, own))
        found = [row[:k].tolist() for row, k in zip(words, lengths, strict=True)]
        assert found == own


def test_of_a_loader_dataset_and_collate_are_used() -> None:
    texts = [([1, 2], 0), ([3], 1), ([4, 5, 6], 1)]
    loader: DataLoader[Any] = DataLoader(texts, batch_size=2, shuffle=True, collate_fn=padded)  # type: ignore[arg-type]
    words, labels = from_dataset(loader).batch(slice(None))
    assert words.tolist() == [[1, 2, 0], [3, 0, 0], [4, 5, 6]]
    assert labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize("key", ["labels", "label"])
def test_a_mapping_s_labels_are_the_targets(key: str) -> None:
    samples = [{"ids": torch.tensor([i, i]), "mask": torch.ones(2), key: i % 2} for i in range(3)]
    inputs, targets = from_dataset(samples).batch(torch.tensor([2, 1]))
    assert inputs.keys() == {"ids", "mask"}
    assert inputs["ids"].tolist() == [[2, 2], [1, 1]]
    assert targets.tolist() == [0, 1]


def test_a_dataset_is_asked_for_a_whole_batch_where_it_can_be() -> None:
    class Together(list[Any]):
        def __getitems__(self, rows: list[int]) -> list[Any]:
            asked.append(rows)
            return [self[row] for row in rows]

    asked: list[list[int]] = []
    from_dataset(Together([(1.0, 0), (2.0, 1)])).batch(slice(None))
    assert asked == [[0, 1]]


def test_packed_sequences_are_one_argument() -> None:
    packed = pack_sequence([torch.ones(3), torch.ones(2)])
    split = from_dataset([0, 1], collate=lambda rows: (packed, torch.tensor(rows)))
    inputs, _ = split.to("cpu").batch(slice(None))
    assert isinstance(inputs, PackedSequence)
    assert arguments_of(inputs) == ((inputs,), {})


def test_how_a_model_is_called() -> None:
    x = torch.ones(1)
    assert arguments_of(x) == ((x,), {})
    assert arguments_of((x, x)) == arguments_of([x, x]) == arguments_of(Two(x, x)) == ((x, x), {})
    assert arguments_of({"a": x}) == ((), {"a": x})


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([])


class Broken(Dataset[Any]):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, row: int) -> Any:
        raise OSError("no such picture")


PAIRS = TensorDataset(torch.zeros(4, 2), torch.zeros(4))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Stream(), "read its samples into a list"),
        (DataLoader(Stream()), "read its samples into a list"),
        (DataLoader(PAIRS, sampler=WeightedRandomSampler([1.0] * 4, 4)), "leave the sampler out"),
        (DataLoader(PAIRS, sampler=RandomSampler(PAIRS, num_samples=2)), "leave the sampler out"),
        (
            DataLoader(PAIRS, batch_sampler=BatchSampler(SequentialSampler(PAIRS), 2, False)),
            "leave the batch_sampler out",
        ),
        (DataLoader(PAIRS, batch_size=None), "leave the batch_sampler out"),
        ([], "the dataset has none"),
        (iter([]), "lacks them: read its samples into a list"),
    ],
    ids=["stream", "of-stream", "weighted", "some", "batches", "no-batches", "empty", "iterator"],
)
def test_what_has_no_order_of_the_seed_is_refused(source: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        from_dataset(source)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([(torch.ones(2), 0), (torch.ones(3), 1)], "give from_dataset a collate= that pads them"),
        ([(1.0, 2.0, 3)] * 2, r"a list of 3, so its targets .* returns \(inputs, targets\)"),
        (
            [{"ids": [1, 2], "label": 0}] * 2,
            "a list of numbers, from which PyTorch's collate makes",
        ),
        ([([1, 2], 0)] * 2, "let the dataset return tensors, or give from_dataset a collate="),
        ([1.0, 2.0], "a Tensor, so its targets"),
        ([{"ids": 1, "label": 0, "labels": 0}] * 2, "a mapping of ids, label, labels"),
        ([{"ids": 1, "target": 0}] * 2, "a mapping of ids, target"),
        ([("a text", 1), ("another", 0)], "holds a str, which is not a tensor"),
        (Broken(), "reading samples 0 to 1 of the dataset failed: OSError: no such picture"),
    ],
    ids=[
        "ragged",
        "three",
        "list-by-name",
        "list",
        "one",
        "two-labels",
        "no-label",
        "text",
        "broken",
    ],
)
def test_samples_that_make_no_batch_are_told(samples: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        from_dataset(samples).batch(slice(None))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        ({"a": torch.zeros(3), "b": torch.zeros(2)}, torch.zeros(3), "same first dimension"),
        ((), torch.zeros(3), "needs samples, got inputs"),
        ({"a": "text"}, torch.zeros(3), "not a str: use torch.as_tensor"),
        ([1.0, 2.0], torch.zeros(2), "not a float"),
    ],
)
def test_a_split_refuses(inputs: Any, targets: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Split(inputs, targets)


def test_data_takes_samples_alone() -> None:
    split = Split(torch.zeros(2, 1), torch.zeros(2))
    given_: Any = DataLoader(PAIRS)
    with pytest.raises(UserError, match=r"test is a DataLoader: give .* from_dataset"):
        Data("mine", split, split, given_)
    assert Data("mine", split, split, from_dataset(given_)).test.device.type == "cpu"


def test_parts_of_containers_have_the_same_shapes() -> None:
    one, other = (Split({"a": torch.zeros(2, n)}, torch.zeros(2)) for n in (3, 4))
    with pytest.raises(UserError, match=r"a validation input has shape \(4,\), a training input"):
        Data("mine", one, other, one)


def test_a_moved_dataset_moves_its_batches() -> None:
    split = from_dataset(PAIRS).to("meta")
    assert isinstance(split, DatasetSplit)
    assert all(each.device.type == "meta" for each in leaves(split.batch(slice(None))))


def test_notes_follow_their_samples_and_are_in_no_batch() -> None:
    notes = {"number": torch.arange(4), "pairs": torch.arange(8).view(4, 2)}
    split = Split({"x": torch.randn(4, 2)}, torch.zeros(4), notes)
    some = split.some(torch.tensor([3, 1]))
    assert some.notes["number"].tolist() == [3, 1]
    assert some.notes["pairs"].tolist() == [[6, 7], [2, 3]]
    assert split.to("cpu").notes["number"].tolist() == [0, 1, 2, 3]
    assert [list(each) for each in split.batch(slice(2))[:1]] == [["x"]]
    assert not Split(torch.zeros(2), torch.zeros(2)).notes
    with pytest.raises(UserError, match="same first dimension"):
        Split(torch.zeros(4), torch.zeros(4), {"number": torch.arange(3)})
    with pytest.raises(UserError, match="the notes of a split must be tensors, not a str"):
        Split(torch.zeros(1), torch.zeros(1), {"number": "one"})  # type: ignore[dict-item]
