"""What studies by seed have in common: a folder that grows by seeds, and one record at its end."""

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
        kind: As records name it.
        command: That makes one.
        file: Of its record.
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
        """Return the record of a study; a finished one is read, another one made and kept.

        Args:
            spec: A dataclass with ``threads``, ``data`` and ``seeds``, those before it among these.
            output: The folder, which this process holds.
            resume: Continue what the folder holds.
            of_seeds: Returns what each seed gives.
            digests: What tells data and models from others of the same names, as JSON: a finished
                record with other ones is made anew. None: settings alone decide.

        Raises:
            UserError: The folder holds something else.
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
    """Return the spec with the seeds that the folder has before its own."""
    earlier, own = (read_spec(folder) or {}).get("seeds"), spec
    if not isinstance(earlier, list):
        return spec  # another thing's folder: whoever claims it says so
    seeds = tuple(dict.fromkeys((*earlier, *own.seeds)))  # type: ignore[attr-defined]
    return replace(own, seeds=seeds)  # type: ignore[type-var]


def plain(spec: Any) -> dict[str, Any]:
    """Return a spec as JSON; of a data folder only whether there was one."""
    return asdict(spec) | {"data": None if spec.data is None else "given"}
