"""How many processes learn together."""

import os
from typing import Any, NoReturn

import torch.distributed


def processes() -> int:
    """Return how many processes learn together; 1 where `torch.distributed` is not in use."""
    distributed: Any = torch.distributed
    on = distributed.is_available() and distributed.is_initialized()
    return int(distributed.get_world_size()) if on else 1


def leads() -> bool:
    """Whether this process writes and prints: the only one does, and the first of several."""
    return os.environ.get("RANK", "0") == "0"


def end_at_once() -> NoReturn:
    """End this process from any of its threads, of which `sys.exit` would end one alone."""
    os._exit(1)
