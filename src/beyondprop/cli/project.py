"""`beyondprop project`: the cost of a random projection on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jsonargparse import Namespace

from beyondprop.cli.parser import Parser
from beyondprop.errors import UserError
from beyondprop.text import aligned, did_you_mean

HELP = "Project random vectors from one width to another, and report the cost and the accuracy."
DEVICES = (
    "cpu, cuda or another PyTorch device, or a simulated photonic co-processor: lighton-opu "
    "(opu for short) or ideal."
)
KIND = "A projection (see `beyondprop list`). With --device opu: the one to compare light with."


def parser() -> Parser:
    """Return the command's flags: the sizes, the projection and the device."""
    made = Parser(
        description=f"{HELP} A projection is a fixed random matrix, stored or not: it carries the "
        "output error to hidden layers in direct feedback alignment. Without --kind, a cost model "
        "chooses the cheapest; it first measures its rates on this machine. With --device opu, "
        "the command reports the cost of LightOn's photonic co-processor by its published figures, "
        "the error of a simulation of it, and the width from which light would be faster.",
        epilog="Example: beyondprop project --inputs 1e6 --outputs 1e6 --batch 1",
    )
    add = made.add_argument
    add("--inputs", type=float, required=True, help="Width of the input: 1000000, or 1e6.")
    add("--outputs", type=float, required=True, help="Width of the output.")
    add("--kind", type=str | None, default=None, help=KIND)
    add("--batch", type=float, default=1, help="Number of vectors projected at a time.")
    add("--seed", type=int, default=0, help="Seed of the random matrix.")
    add("--threads", type=int | None, default=None, help="CPU threads. Default: PyTorch's.")
    add("--device", type=str, default="cpu", help=DEVICES)
    add(
        "--memory",
        type=float | None,
        default=None,
        help="Maximum memory in bytes. Default: half of the free memory.",
    )
    add(
        "--watts",
        type=float | None,
        default=None,
        help="Power of the machine under load, in watts. Energy is reported only if you give it.",
    )
    return made


def run(arguments: Namespace) -> int:
    """Project, and print one line per figure."""
    import torch

    from beyondprop._torch.threads import threads_set

    sizes = {name: whole(name, arguments[name]) for name in ("inputs", "outputs", "batch")}
    if arguments.watts is not None and not 0 < arguments.watts < float("inf"):
        raise UserError(f"--watts must be a number above 0, not {arguments.watts}")
    memory = None if arguments.memory is None else whole("memory", arguments.memory)
    if arguments.threads is not None and not 1 <= arguments.threads <= 1024:
        raise UserError(f"--threads must be from 1 to 1024, not {arguments.threads}")
    if not 0 <= arguments.seed < 2**63:
        raise UserError(f"--seed must be from 0 to 2^63 - 1, not {arguments.seed}")

    figures = {"kind": arguments.kind, "seed": arguments.seed, "memory": memory}
    with threads_set(arguments.threads or torch.get_num_threads()):
        show(said(arguments.device, **sizes, **figures, watts=arguments.watts))
    return 0


def said(device: str, **figures: Any) -> Sequence[tuple[str, str]]:
    """Return the lines to print: a name and a text each."""
    import torch

    from beyondprop._torch.devices import devices
    from beyondprop.experiment.optical_trial import project_by_light
    from beyondprop.experiment.projection_trial import project
    from beyondprop.optics.presets import OPU, PRESETS
    from beyondprop.text.devices import KINDS

    optical = {name: name for name in PRESETS} | {OPU: "lighton-opu"}
    if device in optical:
        return project_by_light(**figures, preset=optical[device])
    try:
        torch.device(device)
    except RuntimeError:
        if hint := did_you_mean(device, (*optical, *devices(), *KINDS)):
            raise UserError(f"there is no device {device!r}{hint}") from None
    return project(**figures, device=device)


def whole(name: str, number: float) -> int:
    """Return a size, typed as 1e6 or 1000000, as a whole number.

    Raises:
        UserError: It is not a whole number of at least 1.
    """
    if not 1 <= number <= 2**53 or number != int(number):
        raise UserError(f"--{name} must be a whole number of at least 1, not {number:g}")
    return int(number)


def show(lines: Sequence[tuple[str, str]]) -> None:
    """Print the names and texts of lines in two columns."""
    print("\n".join(aligned(lines)))
