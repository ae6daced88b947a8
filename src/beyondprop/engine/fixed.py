"""Fixed feedback in a checkpoint: the settings of its projections and their counters."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from beyondprop.core import Block
from beyondprop.errors import UserError
from beyondprop.projections import Projection

SETTINGS, COUNTERS = "projections", "counters"


class Fixed:
    """The projections of an attachment's rules: never learned, and rebuilt from their seeds.

    Attributes:
        projections: By the name of the block, with the projection's name if a rule has several;
            blocks may share one.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.projections: dict[str, Projection] = {}
        for block in blocks:
            own = {
                key: value
                for key, value in vars(block.rule).items()
                if isinstance(value, Projection) and key not in block.rule.traits.drawn_once
            }
            for key, projection in own.items():
                name = block.name if len(own) == 1 else f"{block.name}, {key}"
                self.projections[name] = projection

    def state_dict(self) -> dict[str, Tensor]:
        """Return the projections' settings (JSON, as bytes), and their counters if any is set."""
        if not self.projections:
            return {}
        written = json.dumps(self._settings(), sort_keys=True).encode()
        counters = [projection.counter for projection in self.projections.values()]
        state = {SETTINGS: torch.tensor(list(written), dtype=torch.uint8)}
        return state | ({COUNTERS: torch.tensor(counters)} if any(counters) else {})

    def check(self, state: Mapping[str, Tensor]) -> None:
        """Check that a state was saved with the same projections.

        Raises:
            UserError: It was saved with others, or their settings cannot be read.
        """
        if SETTINGS not in state:
            return  # `LearnedState.load_state_dict` compares the names
        saved = _read(state[SETTINGS])
        here = json.loads(json.dumps(self._settings()))
        for name in (*here, *saved):
            if name not in here or name not in saved:
                where = "here, but was not" if name in here else "not here, but was"
                raise UserError(
                    f"block '{name}' has fixed feedback {where} when this state was saved: attach "
                    "the same rules to the same blocks"
                )
            if saved[name] != here[name]:
                raise _other(name, saved[name], here[name])

    def resume(self, state: Mapping[str, Tensor]) -> None:
        """Set the projections' counters to those of a saved state."""
        counters = state[COUNTERS].tolist() if COUNTERS in state else [0] * len(self.projections)
        for projection, counter in zip(self.projections.values(), counters, strict=True):
            projection.resume(counter)

    def counters(self) -> list[tuple[Projection, int]]:
        """Return the counter of every projection."""
        return [(projection, projection.counter) for projection in self.projections.values()]

    def _settings(self) -> dict[str, Any]:
        return {name: projection.settings() for name, projection in self.projections.items()}


def _read(written: Tensor) -> dict[str, Any]:
    """Return the settings of the projections in a state."""
    try:
        found: dict[str, Any] = json.loads(bytes(written.tolist()))
    except (TypeError, ValueError):
        raise UserError(
            "the settings of fixed feedback in this state cannot be read: keep its tensors as they "
            "were saved, in uint8"
        ) from None
    return found


def _other(name: str, saved: dict[str, Any], here: dict[str, Any]) -> UserError:
    """Return the error for a block whose projection differs from the saved one."""
    before, now = flat(saved), flat(here)
    differ = [key for key in (*now, *before) if before.get(key) != now.get(key)]
    figure = differ[0]
    if len(set(differ)) == 1 and figure.rpartition(".")[2] == "seed":
        return UserError(
            f"this state was saved with feedback to block '{name}' that is drawn from seed "
            f"{before[figure]}, but here it is drawn from seed {now[figure]}: attach the rule with "
            f"seed {before[figure]}"
        )
    figures = ", ".join(
        f"{key} {before.get(key)} there, {now.get(key)} here" for key in dict.fromkeys(differ)
    )
    return UserError(
        f"this state was saved with different feedback to block '{name}' ({figures}): attach the "
        "rule with the projection that was saved"
    )


def flat(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return nested settings in one mapping, with dotted names."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = value
    return found
