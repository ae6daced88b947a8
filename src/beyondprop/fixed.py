"""Fixed feedback in a checkpoint: the seeds that it is drawn from, and how far it has come."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .errors import UserError
from .projections import Projection

if TYPE_CHECKING:
    from .blocks import Block

SETTINGS, MOMENTS = "projections", "moments"
KEYS = frozenset({SETTINGS, MOMENTS})


class Fixed:
    """The projections of an attachment's rules: never learned, and rebuilt from their seeds.

    Attributes:
        projections: By block; blocks may share one.
    """

    def __init__(self, blocks: Sequence["Block"]) -> None:
        self.projections = {
            block.name: value
            for block in blocks
            for value in vars(block.rule).values()
            if isinstance(value, Projection)
        }

    def state_dict(self) -> dict[str, Tensor]:
        """Return the projections' settings as JSON in bytes, and where one changes its moment."""
        if not self.projections:
            return {}
        written = json.dumps(self._settings(), sort_keys=True).encode()
        moments = [projection.moment for projection in self.projections.values()]
        state = {SETTINGS: torch.tensor(list(written), dtype=torch.uint8)}
        return state | ({MOMENTS: torch.tensor(moments)} if any(moments) else {})

    def check(self, state: Mapping[str, Tensor]) -> None:
        """See that a state was saved with the projections that are here.

        Raises:
            UserError: One of them draws other numbers.
        """
        if SETTINGS not in state:
            return
        saved = json.loads(bytes(state[SETTINGS].tolist()))
        for name, here in json.loads(json.dumps(self._settings())).items():
            if saved.get(name) != here:
                raise _other(name, saved.get(name), here)

    def resume(self, state: Mapping[str, Tensor]) -> None:
        """Bring the projections to the moment when the state was saved."""
        moments = state[MOMENTS].tolist() if MOMENTS in state else [0] * len(self.projections)
        for projection, moment in zip(self.projections.values(), moments, strict=True):
            projection.resume(moment)

    def moments(self) -> list[tuple[Projection, int]]:
        """Return the moment of every projection."""
        return [(projection, projection.moment) for projection in self.projections.values()]

    def _settings(self) -> dict[str, Any]:
        return {name: projection.settings() for name, projection in self.projections.items()}


def _other(name: str, saved: dict[str, Any] | None, here: dict[str, Any]) -> UserError:
    """Return the error for a block whose projection is another one than was saved."""
    if saved is not None and {**saved, "seed": here["seed"]} == here:
        return UserError(
            f"this state was saved with feedback to block '{name}' that is drawn from seed "
            f"{saved['seed']}, and here it is drawn from seed {here['seed']}: attach the rule with "
            f"seed {saved['seed']}, or the weights have learned for other feedback"
        )
    return UserError(
        f"this state was saved with other feedback to block '{name}': {saved}, and here it is "
        f"{here}: attach the rule with the projection that was saved"
    )
