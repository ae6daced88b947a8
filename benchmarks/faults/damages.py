"""Ways in which a file is damaged: each draws where."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

Damage = Callable[[random.Random, bytes], bytes]


def flip(draw: random.Random, content: bytes) -> bytes:
    """Another bit, as a disk or a memory gives one."""
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]


def cut(draw: random.Random, content: bytes) -> bytes:
    """Without an end, as after a download that stopped."""
    return content[: draw.randrange(len(content))]


def repeat(draw: random.Random, content: bytes) -> bytes:
    """A part twice."""
    begin, end = sorted(draw.randrange(len(content)) for _ in range(2))
    return content[:end] + content[begin:]


def zero(draw: random.Random, content: bytes) -> bytes:
    """Zeros to the end, as after a power cut where names are written before content."""
    begin = draw.randrange(len(content))
    return content[:begin] + bytes(len(content) - begin)


def swap(draw: random.Random, content: bytes) -> bytes:
    """Two parts in each other's place."""
    a, b, c = sorted(draw.randrange(len(content)) for _ in range(3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def insert(draw: random.Random, content: bytes) -> bytes:
    """Strange bytes in between."""
    place = draw.randrange(len(content))
    return content[:place] + draw.randbytes(draw.randint(1, 16)) + content[place:]


DAMAGES: tuple[Damage, ...] = (flip, cut, repeat, zero, swap, insert)


def damaged(draw: random.Random, content: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield so many damaged forms of a content, each with its name; none is the content itself."""
    made = 0
    while made < count:
        damage = DAMAGES[made % len(DAMAGES)]
        changed = damage(draw, content)
        if changed != content:
            yield f"{damage.__name__} {made}", changed
            made += 1
