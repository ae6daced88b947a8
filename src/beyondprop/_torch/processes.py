"""How many processes learn together."""

from typing import Any

import torch.distributed


def processes() -> int:
    """Return how many processes learn together; 1 where `torch.distributed` is not in use."""
    distributed: Any = torch.distributed
    on = distributed.is_available() and distributed.is_initialized()
    return int(distributed.get_world_size()) if on else 1
