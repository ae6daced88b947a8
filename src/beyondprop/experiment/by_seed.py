"""The common part of studies by seed: a folder to which seeds can be added, and one record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from beyondprop._torch.threads import threads_set
from beyondprop.engine.untouched import generators_kept
from beyondprop.experiment import forms, sessions
from beyondprop.experiment.provenance import provenance, session
from beyondprop.experiment.recipe import RECIPE, recipe
from beyondprop.experiment.storage import SPEC, check_claim, read_spec
from beyondprop.files import finite, write_bytes, write_json

GROWS = ("seeds",)
SCHEMA = 1
T = TypeVar("T")


@dataclass(frozen=True)
class Study:
    """A kind of study.

    Attributes:
        kind: Name of the kind in records.
        command: Command that makes a study.
        file: File name of its record.
    """

    kind: str
    command: str
    file: str

    def made(
        self,
        spec: Any,
        output: Path,
        resume: bool,
        of_seeds: Callable[[], list[dict[str, Any]]],
        digests: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the record of a study: a finished record is read, otherwise it is made and stored.

        Args:
            spec: A dataclass with ``threads``, ``data`` and ``seeds``, including earlier seeds.
            output: The folder, which this process has locked.
            resume: Continue the study in the folder.
            of_seeds: Returns each seed's part of the record.
            digests: Digests that identify data and models by content, as JSON. A finished record
                with other digests is made again. None: only the settings are compared.

        Raises:
            UserError: The folder contains something else.
        """
        started, given = datetime.now(UTC), finite(plain(spec))
        told = {} if digests is None else {"digests": dict(digests)}
        check_claim(output, given, resume, GROWS)
        with threads_set(spec.threads), generators_kept():
            known = forms.read(output / self.file, forms.STUDY)
            if known is not None and known | {"spec": given} | told == known:
                return known
            write_json(output / SPEC, given)
            write_bytes(output / RECIPE, recipe(given, self.command).encode())
            before = sessions.begin(output, session(started))
            record: dict[str, Any] = finite(
                {
                    "schema": SCHEMA,
                    "kind": self.kind,
                    "spec": given,
                    "seeds": of_seeds(),
                    "provenance": provenance(started, before),
                }
                | told
            )
            write_json(output / self.file, record)
        return record


def grown(spec: T, folder: Path) -> T:
    """Return the spec with the folder's seeds before its own seeds."""
    earlier, own = (read_spec(folder) or {}).get("seeds"), spec
    if not isinstance(earlier, list):
        return spec  # the folder contains something else: the check of its claim reports that
    seeds = tuple(dict.fromkeys((*earlier, *own.seeds)))  # type: ignore[attr-defined]
    return replace(own, seeds=seeds)  # type: ignore[type-var]


def plain(spec: Any) -> dict[str, Any]:
    """Return a spec as JSON; for a data folder, only whether one was given."""
    return asdict(spec) | {"data": None if spec.data is None else "given"}
