"""Tasks of language: a decoder says the next character, or byte pair, of a text.

Tiny Shakespeare is that of Karpathy, "The unreasonable effectiveness of recurrent neural networks",
2015. Blocks are those of Launay, Poli, Boniface and Krzakala, "Direct feedback alignment scales to
modern deep learning tasks and architectures", NeurIPS 2020: `macro` has one signal a layer, and one
for the embedding; `micro` has three a layer. The error is taken before the decoder of the
vocabulary.
"""

import math
import re
import string
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.models.transformer import gpt, parts
from beyondprop.tasks import data, files
from beyondprop.tasks.base import Task, known_fields
from beyondprop.tasks.splitting import Drawn
from beyondprop.tasks.texts import Characters, Text, Vocabulary, text_of

LOOSE = data.FileSource(
    name="Tiny Shakespeare",
    folders=(".",),
    files={
        "tinyshakespeare.txt": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
    },
)
PUBLISHED = data.FileSource(
    name="Tiny Shakespeare",
    folders=("tinyshakespeare",),
    files={"input.txt": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"},
    urls=("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",),
    gzipped=False,
)

LETTERS = f"\n !$&',-.3:;?{string.ascii_letters}"
"""All characters of Tiny Shakespeare; its training part has each of them."""

SEEN = 1
"""Characters up to the current one that the linear model sees."""


@dataclass(frozen=True)
class BitsPerCharacter:
    """Negative bits that a character of a text takes, if coded by a model: higher is better.

    Attributes:
        characters: For each class how many characters it is.
    """

    characters: tuple[int, ...]

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        """Return the score of logits ``(n, length, classes)`` by targets ``(n, length)``."""
        lengths = torch.tensor(self.characters, device=targets.device)
        bits = token_loss(outputs, targets).item() / math.log(2)  # of a token
        return -bits * targets.numel() / lengths[targets].sum().item()


def token_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits ``(n, length, classes)`` over all positions."""
    return F.cross_entropy(outputs.flatten(0, -2), targets.flatten())


@dataclass(frozen=True)
class Recent:
    """What the linear model sees: the last classes up to each position, one-hot.

    Attributes:
        classes: How many there are.
        count: How many are seen, the current one among them.
    """

    classes: int
    count: int = SEEN

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the features of windows ``(n, length)``; before a window's beginning are zeros.

        Returns:
            ``(n, length, count * classes)``.
        """
        known = F.one_hot(inputs, self.classes).to(torch.get_default_dtype())
        length = inputs.shape[1]
        shifted = [F.pad(known, (0, 0, back, 0))[:, :length] for back in range(self.count)]
        return torch.cat(shifted, -1)


@dataclass(frozen=True)
class Model:
    """Builds a decoder; see `gpt`."""

    vocabulary: int
    length: int
    width: int
    layers: int
    heads: int
    norm_first: bool

    def __call__(self) -> nn.Module:
        """Return a fresh one."""
        return gpt(
            self.vocabulary, self.length, self.width, self.layers, self.heads, self.norm_first
        )


def from_text(
    path: str | Path,
    *,
    byte_pairs: int | None = None,
    norm_first: bool = True,
    micro: bool = False,
    layers: int = 4,
    width: int = 128,
    heads: int = 4,
    length: int = 128,
    windows: int | None = None,
    **fields: Any,
) -> Task:
    """Return the task of a text: a decoder says each next character, or byte pair.

    The first nine tenths of the text are the training part, the next twentieth is for validation,
    the last for the test. The vocabulary is that of the training part; characters that only the
    others have are one more class.

    Args:
        path: A file in UTF-8, which may be compressed by gzip, or a folder of such files
            (``*.txt``, ``*.txt.gz``), which are joined in the order of their names. It is looked
            for from the current directory, then in the folder that `BEYONDPROP_DATA` names.
        byte_pairs: How many classes of byte pairs there are, the 256 bytes among them. By default
            the classes are characters.
        norm_first: Whether norms stand before what they serve (pre-LN), or behind (post-LN).
        micro: Whether blocks end within each layer too, or behind it alone.
        layers: Of the decoder.
        width: Of a token in it.
        heads: Of each attention.
        length: Of a window in characters or byte pairs.
        windows: Of the training part, drawn anew by each run's seed; by default all of them.
        fields: Of the task, in place of its defaults: ``name``, ``epochs``, ``learning_rate``, ...

    Raises:
        UserError: The text cannot be read or is too short, or a size fits no decoder.
    """
    text = Text(partial(text_of, Path(path)), length, byte_pairs)
    given = Decoder(norm_first, micro, layers, width, heads, windows)
    _check(given, length)
    found, vocabulary = text.made()
    stem = re.sub(r"[^\w-]", "-", found.name.partition(".")[0]).lstrip("-") or "text"
    return given.task(stem, found.name, text, vocabulary, fields)


def shakespeare(
    *,
    byte_pairs: int | None = None,
    norm_first: bool = True,
    micro: bool = False,
    layers: int = 4,
    width: int = 128,
    heads: int = 4,
    length: int = 128,
    windows: int | None = None,
    **fields: Any,
) -> Task:
    """Return the task of Tiny Shakespeare; see `from_text`.

    Args:
        byte_pairs: How many classes of byte pairs there are; by default they are characters.
        norm_first: Whether norms stand before what they serve.
        micro: Whether blocks end within each layer too.
        layers: Of the decoder.
        width: Of a token in it.
        heads: Of each attention.
        length: Of a window in characters or byte pairs.
        windows: Of the training part, drawn anew by each run's seed; by default all of them.
        fields: Of the task, in place of its defaults.

    Raises:
        UserError: A size fits no decoder; with byte pairs, the text is not found.
    """
    text = Text(shakespeare_text, length, byte_pairs)
    given = Decoder(norm_first, micro, layers, width, heads, windows)
    _check(given, length)
    vocabulary = Characters(LETTERS) if byte_pairs is None else text.made()[1]
    return given.task("shakespeare", LOOSE.name, text, vocabulary, fields)


def shakespeare_text(folder: Path | None) -> tuple[str, str]:
    """Return the name and the text of Tiny Shakespeare, 1,115,394 characters.

    Args:
        folder: Where the file lies; None for the usual places, see `data.find`.

    Raises:
        UserError: It is not found, or not the published one.
    """
    source, paths = data.find_any((LOOSE, PUBLISHED), folder)
    ((name, path),) = paths.items()
    return source.name, files.read(path, source.files[name]).decode("utf-8")


@dataclass(frozen=True)
class Decoder:
    """A decoder and its blocks.

    Attributes:
        norm_first: Whether norms stand before what they serve.
        micro: Whether blocks end within each layer too.
        layers: How many.
        width: Of a token.
        heads: Of each attention.
        windows: Of the training part that each run draws; None is all.
    """

    norm_first: bool
    micro: bool
    layers: int
    width: int
    heads: int
    windows: int | None

    def task(
        self, stem: str, title: str, text: Text, vocabulary: Vocabulary, fields: dict[str, Any]
    ) -> Task:
        """Return the task of a text.

        Args:
            stem: With which the task's name begins.
            title: Of the text.
            text: Gives the data.
            vocabulary: That of the data.
            fields: Of the task, in place of its defaults.
        """
        norms = "pre" if self.norm_first else "post"
        ends = "micro" if self.micro else "macro"
        tokens = "byte pairs" if text.byte_pairs is not None else "characters"
        own: dict[str, Any] = {
            "name": f"{stem}-{norms}-{ends}",
            "summary": f"{tokens} of {title}, a {norms}-LN decoder of {self.layers} layers, "
            f"{ends} blocks",
            "load": text,
            "model": Model(
                len(vocabulary),
                text.length,
                self.width,
                self.layers,
                self.heads,
                self.norm_first,
            ),
            "loss": token_loss,
            "metric": BitsPerCharacter(vocabulary.characters),
            "metric_name": "negative bits per character",
            "blocks": parts(self.layers, self.norm_first) if self.micro else ["embed", "layers.*"],
            "output": "norm",
            "axes": "batch tokens features",
            "epochs": 2,
            "batch_size": 8,  # steps are what a short run lacks
            "learning_rate": 1e-3,
            "features": Recent(len(vocabulary)),
            "split": None if self.windows is None else Drawn(self.windows),
        }
        return Task(**own | known_fields(fields))


def _check(given: Decoder, length: int) -> None:
    """See that sizes fit a decoder.

    Raises:
        UserError: They do not.
    """
    sizes = {
        "layers": given.layers,
        "width": given.width,
        "heads": given.heads,
        "length": length,
        "windows": 1 if given.windows is None else given.windows,
    }
    for name, size in sizes.items():
        if not isinstance(size, int) or size < 1:
            raise UserError(f"{name} must be a whole number > 0, not {size!r}")
    if given.width % given.heads:
        raise UserError(f"a width of {given.width} cannot be shared by {given.heads} heads")


part_of_shakespeare = partial(shakespeare, windows=2_000, epochs=6)
"""A quarter of the text for each run, so that runs differ in what they are taught too."""

SHAKESPEARE_PRE_MACRO = part_of_shakespeare()
SHAKESPEARE_PRE_MICRO = part_of_shakespeare(micro=True)
SHAKESPEARE_POST_MACRO = part_of_shakespeare(norm_first=False)
SHAKESPEARE_POST_MICRO = part_of_shakespeare(norm_first=False, micro=True)
