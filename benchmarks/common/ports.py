"""Ports for servers that tests and benchmarks start."""

import random
import socket


def free_port() -> int:
    """Return a free port that no outgoing connection takes before a server does.

    Systems give outgoing connections ports from 32,768: one of these that is free now may be taken
    a moment later.
    """
    drawn = random.SystemRandom()
    while True:
        port = drawn.randrange(20_000, 30_000)
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
