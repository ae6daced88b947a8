"""Trains each modality's sub-network alone, as an independent job."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor, nn

from beyondprop._torch.pytrees import form, leaves, replaced
from beyondprop._torch.threads import threads_set
from beyondprop._torch.weights import WEIGHTS, read_weights, weights
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import UserError, one_line
from beyondprop.files import StorageError, finite, read_json, write_bytes, write_json
from beyondprop.jobs import SERIAL, Executor, Job, Workers, places, values
from beyondprop.jobs.lock import held
from beyondprop.jobs.progress import bars
from beyondprop.modalities.network import PRESENT, MultimodalNetwork
from beyondprop.pieces.contents import digest_of_model
from beyondprop.pieces.data import length, look
from beyondprop.pieces.described import digest_of, digest_of_code
from beyondprop.pieces.stopping import Stopping
from beyondprop.pieces.training import ByLabels, Labelled, LabelledBatches, Recipe, taught, trained
from beyondprop.pieces.unread import unread
from beyondprop.registry import file_name
from beyondprop.registry.settings import plain

RECORD = "record.json"
BLOCKS = ("encoder", "project", "head")
"""The default blocks of a sub-network."""

NONE = slice(0, 0)
"""Selects no rows."""
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

Head = Callable[[int], nn.Module]
"""Builds a module that maps this number of features to the task's outputs."""


class SubNetwork(nn.Module):
    """One modality's encoder and projection, with a separate head.

    It takes the same arguments as the encoder.

    Args:
        encoder: The modality's encoder.
        project: Maps the encoder's features to the fusion's width.
        head: Maps the projected features to the task's outputs.
    """

    def __init__(self, encoder: nn.Module, project: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.project, self.head = encoder, project, head

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        """Return the head's outputs."""
        return self.head(self.project(self.encoder(*arguments, **keywords)))


@dataclass(frozen=True)
class OfModality:
    """Batches of one modality: the inputs and targets of the samples that have it.

    If only one sample of a batch has the modality, it joins the samples of the batch before or
    after it, provided that their shapes match: a batch norm cannot learn from a single sample.

    Attributes:
        data: Batches of (inputs by name, targets).
        name: The name of the modality.
        place: The modality's index in the network.
    """

    data: LabelledBatches
    name: str
    place: int

    @contextmanager
    def unread(self) -> Iterator[OfModality]:
        """Yield the batches in their current order; restore the data's state afterwards."""
        with unread(self.data) as data:
            yield replace(self, data=data)

    def __len__(self) -> int:
        return length(self.data)

    def __iter__(self) -> Iterator[Labelled]:
        held: list[Labelled] = []  # a batch, and possibly a single sample after it
        gave = False
        for inputs, targets in self.data:
            own = inputs.get(self.name)
            if own is None:
                raise UserError(
                    f"a batch has no '{self.name}', so its sub-network can't be trained on it: "
                    f"mark samples without it in '{PRESENT}', or leave the batch out"
                )
            if PRESENT not in inputs:
                yield own, targets
            elif bool((seen := inputs[PRESENT][:, self.place].bool()).any()):
                held.append((taken(own, seen), taken(targets, seen)))
                yield from ready(held, len(seen))
            else:
                continue
            gave = True
        yield from together(held)
        if not gave:
            raise UserError(
                f"no sample has '{self.name}', so its sub-network can't be trained or validated: "
                "leave the modality out, or split the data differently"
            )


def ready(held: list[Labelled], size: int) -> list[Labelled]:
    """Return the held batches that no single sample can join any more.

    Args:
        held: Batches, the new one last; those that are returned are removed.
        size: The full size of the batch from which the last one was selected.
    """
    if len(held) > 1 and samples(held[-2]) == 1 < size:
        held[-2:] = together(held[-2:])
    waiting = 2 if samples(held[-1]) == 1 < size else 1
    out = held[:-waiting]
    del held[: len(out)]
    return out


def samples(batch: Labelled) -> int:
    """Return the number of samples in a batch."""
    return len(next(leaves(batch[1])))


def together(batches: list[Labelled]) -> list[Labelled]:
    """Return two batches concatenated, or unchanged if their shapes differ."""
    if len({form(taken(each, NONE)) for each in batches}) != 1 or len(batches) < 2:
        return batches
    pairs = zip(*map(leaves, batches), strict=True)
    made = {id(parts[0]): torch.cat(parts) for parts in pairs}
    return [replaced(batches[0], lambda x: made[id(x)])]


def taken(value: Any, rows: Tensor | slice) -> Any:
    """Return the given rows of each tensor."""
    return replaced(value, lambda x: x[rows])


@dataclass(frozen=True)
class Trained:
    """A sub-network that was trained alone.

    Attributes:
        name: The name of the modality.
        network: The sub-network with its own head, in eval mode.
        record: The course of its training: ``errors`` and ``validation`` by epoch, the ``best``
            epoch, whose weights it has, ``steps``, ``samples``, floating-point ``operations``, and
            the ``seconds`` of each epoch's steps on the machine that trained it.
    """

    name: str
    network: SubNetwork
    record: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Lesson:
    """A job that trains a sub-network until its validation loss stops falling, and stores it.

    Attributes:
        name: The name of the modality.
        network: The sub-network in its initial state.
        data: Training data of this modality alone.
        validation: Validation data of this modality alone.
        loss: Maps (outputs, targets) to a scalar.
        recipe: The training recipe.
        patience: Epochs without a lower validation loss after which training stops.
        folder: Stores the weights and the record.
        asked: Everything that determines the result.
    """

    name: str
    network: SubNetwork
    data: OfModality
    validation: OfModality
    loss: Callable[[Any, Any], Tensor]
    recipe: Recipe
    patience: int
    folder: Path
    asked: Mapping[str, Any]

    @property
    def title(self) -> str:
        """The job's displayed name."""
        return f"{self.name} alone"

    def earlier(self) -> dict[str, Any] | None:
        """Return the record that an earlier call completed, or None."""
        found, kept = read_json(self.folder / RECORD), self.folder / WEIGHTS
        if found is None or found.get("asked") != self.asked or not kept.exists():
            return None
        if not isinstance(found.get("weights_sha256"), str):
            raise StorageError(
                f"{self.folder / RECORD} is not the record of a sub-network: delete {self.folder} "
                "and run again"
            )
        read_weights(kept, found["weights_sha256"])
        return found

    def work(self, progress: Progress) -> dict[str, Any]:
        """Train and store the sub-network; return its record."""
        with threads_set(self.recipe.threads):
            return self._done(progress)

    def _done(self, progress: Progress) -> dict[str, Any]:
        with self.data.unread() as data, self.validation.unread() as validation:
            stopping = Stopping(self.network, validation, self.loss, self.patience)
            found = train_alone(self.network, data, stopping, self.recipe, progress, self.title)
        content = weights(self.network)
        record: dict[str, Any] = finite(found) | {
            "title": self.title,
            "asked": dict(self.asked),
            "weights_sha256": hashlib.sha256(content).hexdigest(),
        }
        write_bytes(self.folder / WEIGHTS, content)
        write_json(self.folder / RECORD, record)
        return record


def pretrain(
    network: MultimodalNetwork,
    data: LabelledBatches,
    validation: LabelledBatches,
    loss: Callable[[Any, Any], Tensor],
    head: Head,
    folder: Path,
    *,
    recipe: Recipe | Mapping[str, Recipe] | None = None,
    patience: int = 3,
    workers: Workers = SERIAL,
    progress: Progress | None = None,
) -> dict[str, Trained]:
    """Train each modality's sub-network alone; load encoders and projections into the network.

    Each stops on its own validation curve, as modalities converge at different speeds (Ismail,
    Hasan and Ishtiaq, arXiv 2011.06102). Sub-networks already complete in the folder are reused.

    Args:
        network: The network whose encoders and projections learn; its fusion and head do not.
        data: Batches of (inputs by name, targets). Their order may change in each pass, as with a
            DataLoader that shuffles: each modality gets the orders that would come next now,
            whichever other modalities are or were trained. The state of the data is restored.
        validation: Batches in the same form, which decide when training stops.
        loss: Maps (outputs, targets) to a scalar.
        head: Builds the temporary head of a sub-network from the fusion's width.
        folder: Stores the sub-networks.
        recipe: One recipe for all sub-networks, or one for each modality, by name. Blocks are those
            of `SubNetwork`, each of its three modules by default.
        patience: Epochs without a lower validation loss after which a sub-network's training stops.
        workers: The workers that train; this process alone by default. Each receives the data.
        progress: Draws the progress bars.

    Returns:
        Each sub-network with its temporary head, by modality.

    Raises:
        UserError: There is no data, a recipe lacks a modality, a rule can't teach an encoder, or no
            validation loss is a number.
        StorageError: A file cannot be read or written.
    """
    recipes = recipes_of(network, recipe)
    if patience < 1:
        raise UserError(f"patience must be 1 or more epochs, not {patience}")
    lessons = [
        lesson(network, name, (data, validation), loss, head, recipes[name], patience, folder)
        for name in network.modalities
    ]
    shown = progress or bars()
    threads = next(iter(recipes.values())).threads
    with held(folder), shown, Executor(folder, shown, places.find(workers, threads)) as executor:
        jobs = [Job(each.title, each.work, each.earlier) for each in lessons]
        records = values(executor.perform("sub-networks", jobs, told))
    made = {}
    for each, record in zip(lessons, records, strict=True):
        each.network.load_state_dict(read_weights(each.folder / WEIGHTS, record["weights_sha256"]))
        made[each.name] = Trained(each.name, each.network.eval(), record)
    put(network, made)
    return made


def train_alone(
    network: SubNetwork,
    data: LabelledBatches,
    stopping: Stopping,
    recipe: Recipe,
    progress: Progress,
    title: str,
) -> dict[str, Any]:
    """Train a sub-network in place; leave it in eval mode, with its best weights.

    Args:
        network: The sub-network.
        data: Data of the modality alone.
        stopping: Decides when training stops, and holds the loss.
        recipe: The training recipe.
        progress: Draws the progress bar.
        title: The title of the bar.

    Returns:
        The course of its training, as in `Trained`.

    Raises:
        DivergedError: A loss is no longer a number.
        UserError: The rule can't teach it, or a batch norm gets a single sample.
    """
    blocked = recipe if recipe.blocks is not None else replace(recipe, blocks=BLOCKS)
    with taught(network, blocked) as handle:
        course = ByLabels(handle, data, stopping.loss)
        with normalised(network, title):
            curve = trained(course, recipe, progress, title, stopping)
    stopping.restore(recipe.learning_rate, curve.operations)
    return {
        "errors": list(curve.errors),
        "validation": stopping.losses,
        "best": stopping.best,
        "steps": curve.steps,
        "samples": curve.samples,
        "operations": curve.operations,
        "seconds": list(curve.seconds),
    }


@contextmanager
def normalised(network: nn.Module, title: str) -> Iterator[None]:
    """Raise one clear sentence if a batch norm receives a single sample.

    Raises:
        UserError: A batch norm received a single sample.
    """
    try:
        yield
    except ValueError as error:
        if not any(isinstance(each, NORMS) for each in network.modules()):
            raise
        raise UserError(
            f"{title} failed: {one_line(error)}; a batch norm needs several samples that have the "
            "modality: use larger batches or another norm"
        ) from error


def put(network: MultimodalNetwork, made: Mapping[str, Trained]) -> None:
    """Load the weights of sub-networks, except their heads, into a network."""
    for name, each in made.items():
        network.encoders[name].load_state_dict(each.network.encoder.state_dict())
        network.fusion.project[name].load_state_dict(each.network.project.state_dict())


def lesson(
    network: MultimodalNetwork,
    name: str,
    parts: tuple[LabelledBatches, LabelledBatches],
    loss: Callable[[Any, Any], Tensor],
    head: Head,
    recipe: Recipe,
    patience: int,
    folder: Path,
) -> Lesson:
    """Return the job of one modality; see `pretrain`.

    Args:
        network: The network of all modalities.
        name: The name of the modality.
        parts: Training data and validation data.
        loss: As in `pretrain`.
        head: As in `pretrain`.
        recipe: The training recipe of the sub-network.
        patience: As in `pretrain`.
        folder: The folder of all jobs.
    """
    place = network.modalities.index(name)
    data, validation = (OfModality(each, name, place) for each in parts)
    own = subnetwork(network, name, head, recipe.seed)
    given = vars(recipe)
    asked = {
        "network": digest_of_model(own),
        "code": digest_of_code(own),
        "recipe": plain(given) | {"digest": digest_of(given, "the recipe")},
        "loss": digest_of(loss, "the loss"),
        "patience": patience,
        "data": [digest_of_data(each, recipe.seed) for each in (data, validation)],
    }
    return Lesson(
        name, own, data, validation, loss, recipe, patience, folder / file_name(name), asked
    )


def digest_of_data(data: OfModality, seed: int) -> str:
    """Return the SHA-256 of batches in the order of one pass; restore the data's state.

    Args:
        data: The batches of one modality.
        seed: The seed of PyTorch's generator, from which a loader that shuffles may draw its order.
    """
    with generators_kept(), data.unread() as found:
        torch.manual_seed(seed)
        return look(found)[0]


def subnetwork(network: MultimodalNetwork, name: str, head: Head, seed: int) -> SubNetwork:
    """Return a copy of one modality's part of a network, with a new head drawn from a seed."""
    encoder, project = network.encoders[name], network.fusion.project[name]
    devices = {each.device for each in network.parameters()}
    with generators_kept(devices):
        torch.manual_seed(seed)
        own = SubNetwork(copy.deepcopy(encoder), copy.deepcopy(project), head(network.fusion.width))
    return own.to(next(leaves(next(network.parameters()))).device)


def recipes_of(
    network: MultimodalNetwork, recipe: Recipe | Mapping[str, Recipe] | None
) -> dict[str, Recipe]:
    """Return the recipe of each modality.

    Raises:
        UserError: A modality has no recipe, or a recipe names no modality.
    """
    if recipe is None or isinstance(recipe, Recipe):
        return dict.fromkeys(network.modalities, recipe or Recipe())
    if set(recipe) != set(network.modalities):
        raise UserError(
            f"there are recipes for {', '.join(recipe)}, but the modalities are "
            f"{', '.join(network.modalities)}: give one recipe for each"
        )
    return {name: recipe[name] for name in network.modalities}


def told(record: Mapping[str, Any]) -> str:
    """Return a sub-network's record as one line."""
    best = record["validation"][record["best"]]
    return f"{record['title']} · validation loss {best:.4f} in epoch {record['best']}"
