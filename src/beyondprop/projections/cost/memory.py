"""How much memory is free, and whether what is drawn fits."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from beyondprop.errors import UserError

GROUP = Path("/sys/fs/cgroup")


@dataclass
class Room:
    """The default fraction of the free memory that a projection may use.

    Attributes:
        share: One that is chosen for the user.
        most: One that the user has named, while its matrix is drawn; more is refused.
        unasked: Bytes up to which the free memory is not looked at, which takes time.
    """

    share: float = 0.5
    most: float = 0.8
    unasked: int = 2**28


ROOM = Room()


def check_room(kind: str, widths: tuple[int, int], needed: int, device: torch.device) -> None:
    """Check that a matrix fits before drawing it, because running out of memory may stop the
    machine.

    Args:
        kind: Name of the projection's class.
        widths: Of its input and output.
        needed: Bytes at the most while it is drawn.
        device: Where.

    Raises:
        UserError: It takes more than its share of what is free.
    """
    if needed <= ROOM.unasked:
        return
    free = _free(device)
    if free is not None and needed > free * ROOM.most:
        m, n = widths
        raise UserError(
            f"a {kind} matrix from {m:,} to {n:,} numbers takes {size(needed)} while it is drawn, "
            f"and {size(free)} are free, of which a projection may take {ROOM.most:.0%}: give the "
            "rule one that keeps no matrix, projection=bp.projections.Hadamard(shared=True), or, "
            "where a rule needs the matrix itself, teach blocks with smaller outputs"
        )


def free_bytes(device: torch.device) -> int:
    """Return how many bytes can still be taken on a device.

    On Linux it is the least of what the machine and the process's container have left.

    Raises:
        UserError: It cannot be seen on this system.
    """
    free = _free(device)
    if free is None:
        raise UserError("how much memory is free cannot be seen here: pass memory=, in bytes")
    return free


def _free(device: torch.device) -> int | None:
    """Return how many bytes can still be taken on a device, None if that cannot be seen."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    table = Path("/proc/meminfo")
    if device.type != "cpu" or not table.exists():
        return None
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
