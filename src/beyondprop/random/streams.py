"""The random stream of a name."""

import hashlib


def stream_of(name: str) -> int:
    """Return the number of the random stream of a module's name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest())
