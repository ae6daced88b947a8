"""The outcome of attacks: refused in one sentence, the correct result, or a fault."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from beyondprop.errors import UserError

LONGEST = 1500
"""Most characters of a sentence, which may contain a path and list settings."""

T = TypeVar("T")


@dataclass
class Tally:
    """Counts of attacks of one kind.

    Attributes:
        refused: The number that ended with one sentence.
        right: The number that ended with the correct result.
        faults: A description of each other result.
        slowest: Processor seconds of the longest attack.
        memory: MiB of the process with the largest peak.
        skipped: Reasons why attacks of this kind could not be made here.
    """

    refused: int = 0
    right: int = 0
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0
    memory: float = 0.0
    skipped: list[str] = field(default_factory=list)

    @property
    def tried(self) -> int:
        """The number of attacks."""
        return self.refused + self.right + len(self.faults)

    def attempt(self, name: str, act: Callable[[], T], holds: Callable[[T], object]) -> None:
        """Count one attack.

        Args:
            name: The name of a fault.
            act: The attack; a `UserError` is a refusal, which must be one sentence.
            holds: A function that checks the result.
        """
        begun = time.process_time()  # other processes of the machine don't count
        said, fault = None, ""
        try:
            found = act()
            fault = "" if holds(found) else f"a wrong result, {str(found)[:200]}"
        except UserError as problem:
            said = str(problem)
            fault = not_a_sentence(said)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            fault = f"{type(error).__name__}: {error}"[:400]
        self.slowest = max(self.slowest, time.process_time() - begun)
        self.count(name, fault, said is not None)

    def count(self, name: str, fault: str, refused: bool) -> None:
        """Count one attack that was made elsewhere.

        Args:
            name: The name of a fault.
            fault: What was wrong; empty if nothing was.
            refused: Whether it was refused.
        """
        if fault:
            self.faults.append(f"{name}: {fault}")
        elif refused:
            self.refused += 1
        else:
            self.right += 1


def not_a_sentence(said: str) -> str:
    """Return why a message is not one sentence for people; empty if it is one.

    The message of a failed attachment has one line per reason, which begins with a dash.
    """
    _, *more = said.strip("\n").split("\n")
    if "Traceback" in said or not all(line.startswith("- ") for line in more):
        return f"more than one line: {said[:300]!r}"
    if not 10 <= len(said) <= LONGEST:
        return f"a message of {len(said)} characters: {said[:200]!r}"
    return ""


def never(_: Any) -> bool:
    """Return False: no result of an invalid input is correct."""
    return False
