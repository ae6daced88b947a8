"""The free memory, and a check that a matrix fits before it is drawn."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from beyondprop.errors import UserError

GROUP = Path("/sys/fs/cgroup")


@dataclass
class Room:
    """The fractions of the free memory that projections may use.

    Attributes:
        share: For a projection that `choose` selects, by default.
        most: For a projection that the user names, while its matrix is drawn; more is an error.
        unasked: Bytes up to which the free memory is not checked, as the check takes time.
    """

    share: float = 0.5
    most: float = 0.8
    unasked: int = 2**28


ROOM = Room()


def check_room(kind: str, widths: tuple[int, int], needed: int, device: torch.device) -> None:
    """Check that a matrix fits before it is drawn, as lack of memory may stop the machine.

    Args:
        kind: The name of the projection's class.
        widths: The widths of its input and output.
        needed: The peak in bytes while it is drawn.
        device: The device on which it is drawn.

    Raises:
        UserError: The matrix takes more than its share of the free memory.
    """
    if needed <= ROOM.unasked:
        return
    free = _free(device)
    if free is not None and needed > free * ROOM.most:
        m, n = widths
        raise UserError(
            f"a {kind} matrix from {m:,} to {n:,} numbers takes {size(needed)} while it is drawn, "
            f"but {size(free)} are free, of which a projection may use {ROOM.most:.0%}: give the "
            "rule one that stores no matrix, projection=bp.projections.Hadamard(shared=True), or, "
            "if the rule needs the matrix itself, train blocks with smaller outputs"
        )


def free_bytes(device: torch.device) -> int:
    """Return the free bytes on a device.

    On Linux this is the smaller of the machine's and the process's container's free memory.

    Raises:
        UserError: The free memory cannot be determined on this system.
    """
    free = _free(device)
    if free is None:
        raise UserError("the free memory cannot be determined here: pass memory=, in bytes")
    return free


def _free(device: torch.device) -> int | None:
    """Return the free bytes on a device, or None if they cannot be determined."""
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
        dropped = int(dict(stat)["inactive_file"])  # cached files, which the kernel can drop
        free = min(free, int(limit.read_text()) - used + dropped)
    return max(free, 0)


def size(count: float) -> str:
    """Return a number of bytes with a unit, as text."""
    step = min(4, int(math.log10(count) // 3)) if count >= 1 else 0
    return f"{count / 1000**step:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[step]}"
