"""The processes that train together."""

import os
from typing import Any, NoReturn

import torch.distributed


def processes() -> int:
    """Return the number of processes that train together; 1 if `torch.distributed` is not in
    use."""
    distributed: Any = torch.distributed
    on = distributed.is_available() and distributed.is_initialized()
    return int(distributed.get_world_size()) if on else 1


def leads() -> bool:
    """Whether this process writes and prints: it is the only one, or the first of several."""
    return os.environ.get("RANK", "0") == "0"


def end_at_once() -> NoReturn:
    """End this process from any of its threads; `sys.exit` would end only the thread."""
    os._exit(1)
