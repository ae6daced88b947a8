"""Texts as numbers: characters or byte pairs, in three splits, cut into windows of equal length.

Byte pairs: Sennrich, Haddow and Birch, "Neural machine translation of rare words with subword
units", ACL 2016; on bytes, as in GPT-2.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beyondprop.errors import UserError, install
from beyondprop.tasks import files
from beyondprop.tasks.samples import Data, Split

TRAINING, VALIDATION = 0.9, 0.05
"""Shares of a text, from its beginning; the rest is the test split."""

ENDINGS = (".txt", ".txt.gz")
"""Suffixes of the files in a folder that are read."""

BYTES = 256


class Vocabulary(ABC):
    """The classes into which a text is divided.

    Attributes:
        characters: Number of characters of the text for each class.
    """

    characters: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.characters)

    @abstractmethod
    def encode(self, text: str) -> Tensor:
        """Return a text's classes, ``(n,)`` int64."""


class Characters(Vocabulary):
    """A class for each character of a text, and one last class for characters only in other texts.

    Args:
        text: Its characters are numbered in the order of Unicode.
        others: Texts that may have additional characters. If they have none, there is no last
            class, as nothing would train it.
    """

    def __init__(self, text: str, *others: str) -> None:
        self.codes = np.unique(_codes(text))
        unknown = not all(np.isin(_codes(other), self.codes).all() for other in others)
        self.characters = (1,) * (len(self.codes) + unknown)

    def encode(self, text: str) -> Tensor:
        """Return a text's classes, ``(n,)`` int64."""
        codes, last = _codes(text), len(self.codes)
        places = np.searchsorted(self.codes, codes)
        found = np.where(self.codes[places.clip(max=last - 1)] == codes, places, last)
        return torch.from_numpy(found.astype(np.int64))


class BytePairs(Vocabulary):
    """Frequent strings of bytes, joined pair by pair; all other text is single bytes.

    Args:
        text: The text from which the pairs are learned.
        size: Number of classes, including the 256 bytes; a short text gives fewer.

    Raises:
        UserError: The size allows no pair, or `tokenizers` is not installed.
    """

    def __init__(self, text: str, size: int) -> None:
        if size <= BYTES:
            raise UserError(
                f"byte_pairs counts the {BYTES} bytes too: it must be {BYTES + 1} or more, not "
                f"{size}; for characters leave it out"
            )
        self.tokenizer = _trained(text, size)
        letters = _letters()
        tokens = map(self.tokenizer.id_to_token, range(self.tokenizer.get_vocab_size()))
        # In UTF-8 each character has exactly one byte that is not a continuation byte.
        self.characters = tuple(
            sum(letters[letter] & 0xC0 != 0x80 for letter in token) for token in tokens
        )

    def encode(self, text: str) -> Tensor:
        """Return a text's classes, ``(n,)`` int64."""
        return torch.tensor(self.tokenizer.encode(text).ids)


@dataclass(frozen=True)
class Text:
    """A text and how to divide it. Called with a data folder or None, it returns the data.

    Attributes:
        read: (data folder or None) to the text's name and the text.
        length: Length of a window, in classes.
        byte_pairs: Number of byte-pair classes; None for characters.
    """

    read: Callable[[Path | None], tuple[str, str]]
    length: int
    byte_pairs: int | None

    def __call__(self, folder: Path | None) -> Data:
        """Return the data, see `made`.

        Raises:
            UserError: The text cannot be read or is too short.
        """
        return self.made(folder)[0]

    def made(self, folder: Path | None = None) -> tuple[Data, Vocabulary]:
        """Return windows of the text, and the vocabulary, which comes from the training split.

        The splits are consecutive: the first nine tenths, a twentieth, and the last twentieth. A
        window's inputs are ``(length,)`` classes, and its targets the class after each of them; the
        next window begins where it ends.

        Raises:
            UserError: The text cannot be read or is too short.
        """
        name, text = self.read(folder)
        train, validation, test = parts_of(name, text)
        pairs = self.byte_pairs
        vocabulary: Vocabulary
        if pairs is None:
            vocabulary = Characters(train, validation, test)
        else:
            vocabulary = BytePairs(train, pairs)
        return in_windows(name, text, self.length, vocabulary), vocabulary


def parts_of(name: str, text: str) -> tuple[str, str, str]:
    """Return the training, validation and test split of a text.

    Raises:
        UserError: It is empty.
    """
    first, second = (round(len(text) * share) for share in (TRAINING, TRAINING + VALIDATION))
    if not text[:first]:
        raise UserError(f"{name} is empty: give a text")
    return text[:first], text[first:second], text[second:]


def in_windows(name: str, text: str, length: int, vocabulary: Vocabulary) -> Data:
    """Return the splits of a text, in windows of equal length.

    Args:
        name: Name of the text.
        text: The text; see `Text.made` for the splits.
        length: Length of a window, in classes.
        vocabulary: Provides the classes.

    Raises:
        UserError: The text is too short.
    """

    def windows(part: str) -> Split:
        classes = vocabulary.encode(part)
        count = (len(classes) - 1) // length
        if count < 1:
            raise UserError(
                f"{name} is too short: one of its parts has {len(classes)} tokens, and a window of "
                f"{length} needs one more than that; give a longer text or a smaller length"
            )
        inputs = classes[: count * length].view(count, length)
        return Split(inputs, classes[1 : count * length + 1].view(count, length))

    train, validation, test = map(windows, parts_of(name, text))
    return Data(name, train, validation, test)


def text_of(path: Path, folder: Path | None) -> tuple[str, str]:
    """Return the name and the text of a file, or of a folder's texts joined in the order of names.

    Args:
        path: Relative to the current directory or, if it is not there, to the folder that
            `BEYONDPROP_DATA` names. Files may be compressed by gzip.
        folder: Must be None, because the classes come from the text that the path names.

    Raises:
        UserError: There is no such text, it is not UTF-8, or a folder is given.
    """
    files.check_own(path, folder)
    found = _located(path)
    if not found.is_dir():
        return found.name, _decoded(found, files.read(found))
    texts = sorted(each for each in found.iterdir() if each.name.endswith(ENDINGS))
    if not texts:
        raise UserError(f"the folder {found} has no texts: name a file, or put *.txt files there")
    return found.name, "".join(_decoded(each, files.read(each)) for each in texts)


def _located(path: Path) -> Path:
    path = path.expanduser()
    named = os.environ.get("BEYONDPROP_DATA")
    places = [path]
    if named:
        places.append(Path(named).expanduser() / path)
    for place in places:
        if place.exists():
            return place
    raise UserError(f"there is no text {' or '.join(map(str, places))}: give the path of a file")


def _decoded(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text (byte {error.start:,}): convert it to UTF-8"
        ) from error


def _codes(text: str) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """Return the Unicode code point of each character."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))


def _trained(text: str, size: int) -> Any:
    """Return a tokenizer whose pairs are learned from a text.

    Raises:
        UserError: `tokenizers` is not installed.
    """
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    except ImportError as error:
        raise UserError(f"byte pairs need tokenizers: {install('language')}") from error
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Pairs do not cross lines, which limits the memory needed for splitting.
    tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
    return tokenizer


def _letters() -> dict[str, int]:
    """Return the byte of each letter that a byte-level tokenizer uses.

    A printable byte is represented by its own character, the others by the characters from 256.
    """
    printed: Sequence[int] = [*range(33, 127), *range(161, 173), *range(174, BYTES)]
    others = [byte for byte in range(BYTES) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {
        chr(BYTES + place): byte for place, byte in enumerate(others)
    }
