"""Texts of several genres as a stream: each genre is a domain of one language."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from beyondprop.continual.streams import Stream, domains
from beyondprop.errors import UserError
from beyondprop.tasks import Data, Samples, Task
from beyondprop.tasks.language import BitsPerCharacter, Model, Recent, shakespeare
from beyondprop.tasks.texts import Characters, in_windows, text_of

BROWN = ("press-reportage", "fiction-romance", "learned", "religion", "humor")
"""Genres of the Brown corpus that differ strongly from one another."""


def genres(
    folder: str | Path = "brown",
    names: Sequence[str] = BROWN,
    *,
    length: int = 64,
    windows: int = 500,
    layers: int = 2,
    width: int = 64,
    heads: int = 4,
    **fields: Any,
) -> tuple[Stream, Task]:
    """Return texts as a stream, and the task of a decoder that predicts the next character.

    The classes are the characters of all texts together. Only the first windows of each text's
    training split are learned.

    Args:
        folder: Folder with the files ``NAME.txt`` or ``NAME.txt.gz``; searched in the current
            directory, then in the folder that `BEYONDPROP_DATA` names.
        names: Names of the texts, in the order in which they are learned.
        length: Length of a window, in characters.
        windows: Maximum number of windows of each text's training split.
        layers: Layers of the decoder.
        width: Width of a token in the decoder.
        heads: Heads of each attention.
        fields: Fields of the task that replace its defaults: ``epochs``, ``learning_rate``, ...

    Raises:
        UserError: A text is missing or too short, or the sizes of the decoder are not valid.
    """
    texts = {name: read(Path(folder), name) for name in names}
    vocabulary = Characters("".join(texts.values()))
    data = [in_windows(name, text, length, vocabulary) for name, text in texts.items()]
    few = [each.mapped(partial(first, count=windows)) for each in data]
    decoder = shakespeare(layers=layers, width=width, heads=heads, length=length)
    own: dict[str, Any] = {
        "name": "genres",
        "summary": f"characters of {len(names)} texts, a decoder of {layers} layers",
        "load": partial(known, few[0]),
        "model": Model(len(vocabulary), length, width, layers, heads, norm_first=True),
        "metric": BitsPerCharacter(vocabulary.characters),
        "features": Recent(len(vocabulary)),
    }
    task = replace(decoder, **own | fields)
    return domains(f"genres of {Path(folder).name}", few), task


def read(folder: Path, name: str) -> str:
    """Return a text of a folder.

    Raises:
        UserError: The text does not exist.
    """
    for ending in (".txt.gz", ".txt"):
        with suppress(UserError):
            return text_of(folder / f"{name}{ending}", None)[1]
    raise UserError(
        f"there is no text {name}.txt or {name}.txt.gz in {folder}: name the folder that has it"
    )


def first(samples: Samples, count: int) -> Samples:
    """Return the first `count` samples."""
    return samples.some(torch.arange(min(count, len(samples))))


def known(data: Data, folder: Path | None) -> Data:
    """Return data that is already loaded; the folder is not used."""
    del folder
    return data
