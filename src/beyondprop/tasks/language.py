"""Language tasks: a decoder predicts the next character, or byte pair, of a text.

Tiny Shakespeare is from Karpathy, "The unreasonable effectiveness of recurrent neural networks",
2015. The blocks are those of Launay, Poli, Boniface and Krzakala, "Direct feedback alignment scales
to modern deep learning tasks and architectures", NeurIPS 2020: `macro` has one signal for each
layer, and one for the embedding; `micro` has three for each layer. The error is taken before the
decoder of the vocabulary.
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
"""All characters of Tiny Shakespeare; its training split contains each of them."""

SEEN = 1
"""Number of characters, up to the current one, that the linear model uses."""


@dataclass(frozen=True)
class BitsPerCharacter:
    """Negative bits per character if a text is coded by a model: higher is better.

    Attributes:
        characters: Number of characters of each class.
    """

    characters: tuple[int, ...]

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        """Return the score of logits ``(n, length, classes)`` for targets ``(n, length)``."""
        lengths = torch.tensor(self.characters, device=targets.device)
        bits = token_loss(outputs, targets).item() / math.log(2)  # of a token
        return -bits * targets.numel() / lengths[targets].sum().item()


def token_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits ``(n, length, classes)`` over all positions."""
    return F.cross_entropy(outputs.flatten(0, -2), targets.flatten())


@dataclass(frozen=True)
class Recent:
    """The features of the linear model: the last classes up to each position, one-hot.

    Attributes:
        classes: Number of classes.
        count: Number of positions, including the current one.
    """

    classes: int
    count: int = SEEN

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the features of windows ``(n, length)``; positions before the window are zeros.

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
        """Return a new decoder."""
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
    """Return the task of a text: a decoder predicts each next character, or byte pair.

    The first nine tenths of the text are for training, the next twentieth is for validation, the
    last for the test. The vocabulary comes from the training split; all characters that occur only
    in the other splits share one additional class.

    Args:
        path: A file in UTF-8, which may be compressed by gzip, or a folder of such files
            (``*.txt``, ``*.txt.gz``), which are joined in the order of their names. It is searched
            in the current directory, then in the folder that `BEYONDPROP_DATA` names.
        byte_pairs: Number of byte-pair classes, including the 256 bytes. By default the classes are
            characters.
        norm_first: Whether norms precede each sublayer (pre-LN) or follow it (post-LN).
        micro: Whether blocks also end within each layer, not only after it.
        layers: Layers of the decoder.
        width: Width of a token in the decoder.
        heads: Heads of each attention.
        length: Length of a window in characters or byte pairs.
        windows: Number of training windows, drawn by each run's seed; by default all of them.
        fields: Fields of the task that replace its defaults: ``name``, ``epochs``,
            ``learning_rate``, ...

    Raises:
        UserError: The text cannot be read or is too short, or the sizes of the decoder are not
            valid.
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
        byte_pairs: Number of byte-pair classes; by default the classes are characters.
        norm_first: Whether norms precede each sublayer.
        micro: Whether blocks also end within each layer.
        layers: Layers of the decoder.
        width: Width of a token in the decoder.
        heads: Heads of each attention.
        length: Length of a window in characters or byte pairs.
        windows: Number of training windows, drawn by each run's seed; by default all of them.
        fields: Fields of the task that replace its defaults.

    Raises:
        UserError: The sizes of the decoder are not valid; with byte pairs, the text is not found.
    """
    text = Text(shakespeare_text, length, byte_pairs)
    given = Decoder(norm_first, micro, layers, width, heads, windows)
    _check(given, length)
    vocabulary = Characters(LETTERS) if byte_pairs is None else text.made()[1]
    return given.task("shakespeare", LOOSE.name, text, vocabulary, fields)


def shakespeare_text(folder: Path | None) -> tuple[str, str]:
    """Return the name and the text of Tiny Shakespeare, 1,115,394 characters.

    Args:
        folder: Location of the file; None for the default locations, see `data.find`.

    Raises:
        UserError: The file is missing, or not the published one.
    """
    source, paths = data.find_any((LOOSE, PUBLISHED), folder)
    ((name, path),) = paths.items()
    return source.name, files.read(path, source.files[name]).decode("utf-8")


@dataclass(frozen=True)
class Decoder:
    """A decoder and its blocks.

    Attributes:
        norm_first: Whether norms precede each sublayer.
        micro: Whether blocks also end within each layer.
        layers: Number of layers.
        width: Width of a token.
        heads: Heads of each attention.
        windows: Number of training windows that each run draws; None for all.
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
            stem: First part of the task's name.
            title: Title of the text.
            text: Returns the data.
            vocabulary: Vocabulary of the data.
            fields: Fields of the task that replace its defaults.
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
            "batch_size": 8,  # small batches, because a short run needs many steps
            "learning_rate": 1e-3,
            "features": Recent(len(vocabulary)),
            "split": None if self.windows is None else Drawn(self.windows),
        }
        return Task(**own | known_fields(fields))


def _check(given: Decoder, length: int) -> None:
    """Raise unless the sizes are valid for a decoder.

    Raises:
        UserError: They are not valid.
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
        raise UserError(f"a width of {given.width} is not divisible by {given.heads} heads")


part_of_shakespeare = partial(shakespeare, windows=2_000, epochs=6)
"""A quarter of the text for each run, so that runs also differ in their training data."""

SHAKESPEARE_PRE_MACRO = part_of_shakespeare()
SHAKESPEARE_PRE_MICRO = part_of_shakespeare(micro=True)
SHAKESPEARE_POST_MACRO = part_of_shakespeare(norm_first=False)
SHAKESPEARE_POST_MICRO = part_of_shakespeare(norm_first=False, micro=True)
