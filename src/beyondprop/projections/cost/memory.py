"""How much memory is free."""

import math
from pathlib import Path

import torch

from beyondprop.errors import UserError

GROUP = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device) -> int:
    """Return how many bytes can still be taken on a device.

    On Linux it is the least of what the machine and the process's container have left.

    Raises:
        UserError: It cannot be seen on this system.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    table = Path("/proc/meminfo")
    if device.type != "cpu" or not table.exists():
        raise UserError("how much memory is free cannot be seen here: pass memory=, in bytes")
    lines = dict(line.split(":") for line in table.read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) * 1024
    limit = GROUP / "memory.max"
    if limit.exists() and limit.read_text().strip() != "max":
        stat = (line.split() for line in (GROUP / "memory.stat").read_text().splitlines())
        used = int((GROUP / "memory.current").read_text())
        dropped = int(dict(stat)["inactive_file"])  # files that are kept only while there is room
        free = min(free, int(limit.read_text()) - used + dropped)
    return max(free, 0)


def size(count: float) -> str:
    """Return bytes as people read them."""
    step = min(4, int(math.log10(count) // 3)) if count >= 1 else 0
    return f"{count / 1000**step:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[step]}"
