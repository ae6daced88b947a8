"""Ways to damage a file, at random positions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

Damage = Callable[[random.Random, bytes], bytes]


def flip(draw: random.Random, content: bytes) -> bytes:
    """Flip a bit, as a failing disk or memory does."""
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]


def cut(draw: random.Random, content: bytes) -> bytes:
    """Cut off the end, as in an interrupted download."""
    return content[: draw.randrange(len(content))]


def repeat(draw: random.Random, content: bytes) -> bytes:
    """Repeat a part."""
    begin, end = sorted(draw.randrange(len(content)) for _ in range(2))
    return content[:end] + content[begin:]


def zero(draw: random.Random, content: bytes) -> bytes:
    """Write zeros to the end, as after a power cut on a system that writes names before content."""
    begin = draw.randrange(len(content))
    return content[:begin] + bytes(len(content) - begin)


def swap(draw: random.Random, content: bytes) -> bytes:
    """Swap two parts."""
    a, b, c = sorted(draw.randrange(len(content)) for _ in range(3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def insert(draw: random.Random, content: bytes) -> bytes:
    """Insert random bytes."""
    place = draw.randrange(len(content))
    return content[:place] + draw.randbytes(draw.randint(1, 16)) + content[place:]


DAMAGES: tuple[Damage, ...] = (flip, cut, repeat, zero, swap, insert)


def damaged(draw: random.Random, content: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield `count` damaged versions of a content with their names; all differ from the content."""
    made = 0
    while made < count:
        damage = DAMAGES[made % len(DAMAGES)]
        changed = damage(draw, content)
        if changed != content:
            yield f"{damage.__name__} {made}", changed
            made += 1
