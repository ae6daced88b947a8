"""Spoken and written digits: a recording together with a picture of the same class.

Recordings: Jackson et al., "Free Spoken Digit Dataset", 2018. Pictures: MNIST.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.models.encoders import Frames, pictures
from beyondprop.tasks import files, idx
from beyondprop.tasks.data import FileSource, find
from beyondprop.tasks.mnist import DIGITS, FILES, MNIST, mean_and_std
from beyondprop.tasks.multimodal.common import Encoder, of_modalities, scale
from beyondprop.tasks.samples import Data, Split

RECORDINGS = "fsdd.npz"
ARRAYS = ("samples", "offsets", "digit", "speaker")
MOST = 50_000
"""Maximum number of recordings that are read: one gigabyte."""
FSDD = FileSource(
    name="Free Spoken Digit Dataset",
    folders=("fsdd",),
    files={RECORDINGS: None},
    gzipped=False,
    page="the recordings of https://github.com/Jakobovski/free-spoken-digit-dataset, "
    "packed as docs/modalities.md says",
)
SPEAKERS = (("george", "jackson", "lucas", "nicolas"), ("theo",), ("yweweler",))
"""Speakers for training, validation and test, in the order of their names."""

WINDOW, HOP, FRAMES = 256, 128, 40
"""Samples per frame, samples between frames, and frames: 0.66 s at 8 kHz, the maximum length of
nine in ten recordings.
"""

BANDS = WINDOW // 4
"""Number of bands of a frame, each the mean of two frequencies."""

SILENCE = 0.1
"""Power below which a band counts as silent: -46 dB of a tone as loud as the loudest sample."""


@dataclass(frozen=True)
class SpokenDigits:
    """Recordings and pictures. Called with a data folder or None, it returns the data.

    Attributes:
        recordings: Location of the recordings.
        pictures: Location of the pictures.
        speakers: Speakers for training, validation and test.
    """

    recordings: FileSource = FSDD
    pictures: FileSource = MNIST
    speakers: Sequence[Sequence[str]] = SPEAKERS

    def __call__(self, folder: Path | None = None) -> Data:
        """Return ``audio`` (n, frames, bands) and ``image`` (n, 1, 28, 28), both standardised by
        the training split.

        Each recording has its own picture of its class. MNIST's training pictures are used for
        training and validation, its test pictures for the test; always the same ones.

        Raises:
            UserError: The files are missing or damaged, or there are too few pictures.
        """
        audio, digits, speakers = read(find(self.recordings, folder)[RECORDINGS])
        paths = find(self.pictures, folder)
        images, labels, test_images, test_labels = (
            torch.from_numpy(idx.read(paths[name], self.pictures.files[name])) for name in FILES
        )
        rows = [
            torch.from_numpy(np.isin(speakers, names)).nonzero()[:, 0] for names in self.speakers
        ]
        train, held, tested = (digits[each] for each in rows)
        seen = paired(torch.cat([train, held]), labels)
        shown = images[seen].split([len(train), len(held)])
        mean, deviation = mean_and_std(shown[0])
        middle, size = scale(audio[rows[0]].flatten(0, 1))  # (bands,)

        def part(heard: Tensor, image: Tensor) -> Split:
            inputs = {
                "audio": (audio[heard] - middle) / size,
                "image": (image[:, None].float() - mean) / deviation,
            }
            return Split(inputs, digits[heard])

        return Data(
            name="spoken and written digits",
            train=part(rows[0], shown[0]),
            validation=part(rows[1], shown[1]),
            test=part(rows[2], test_images[paired(tested, test_labels)]),
            classes=DIGITS,
        )


def read(path: Path) -> tuple[Tensor, Tensor, NDArray[Any]]:
    """Return recordings as frames ``(n, frames, bands)``, their digits ``(n,)``, and their
    speakers.

    Raises:
        UserError: The file is damaged or lacks an array.
    """
    samples, offsets, digits, speakers = files.arrays(path, ARRAYS, "recordings")
    if not (
        samples.ndim == offsets.ndim == digits.ndim == speakers.ndim == 1
        and samples.dtype.kind in "iuf"
        and offsets.dtype.kind in "iu"
        and digits.dtype.kind in "iu"
        and len(speakers) == len(digits) == len(offsets) - 1 <= MOST
        and (np.diff(offsets.astype(np.int64)) > 0).all()
        and offsets[0] >= 0
        and offsets[-1] <= len(samples)
    ):
        raise UserError(
            f"{path} holds no recordings: its arrays do not match, or contain more than "
            f"{MOST:,} recordings; replace it"
        )
    waves = torch.zeros(len(digits), WINDOW + HOP * (FRAMES - 1))
    for wave, begin, end in zip(waves, offsets[:-1], offsets[1:], strict=True):
        cut = torch.from_numpy(samples[begin:end][: len(wave)].astype(np.float32))
        wave[: len(cut)] = cut / cut.abs().max().clamp(min=1)
    return spectrogram(waves), torch.from_numpy(digits.astype(np.int64)), speakers


def spectrogram(waves: Tensor) -> Tensor:
    """Return the logarithm of the power in each band of each frame.

    Args:
        waves: ``(n, samples)``, from -1 to 1.

    Returns:
        ``(n, frames, bands)``.
    """
    found = torch.stft(
        waves, WINDOW, HOP, window=torch.hann_window(WINDOW), center=False, return_complex=True
    )  # (n, frequencies, frames)
    power = found[:, :-1].abs().square().unflatten(1, (BANDS, 2)).mean(2)
    made: Tensor = (power + SILENCE).log().transpose(1, 2).contiguous()
    return made


def paired(digits: Tensor, labels: Tensor) -> Tensor:
    """Return the number of a picture for each recording: of its class, and each at most once.

    Args:
        digits: Classes of the recordings, ``(n,)``.
        labels: Classes of the pictures, ``(m,)``.

    Raises:
        UserError: There are too few pictures of a class.
    """
    generator = np.random.RandomState(0)
    found = torch.empty_like(digits)
    for digit in digits.unique().tolist():
        wanted, there = (digits == digit).nonzero()[:, 0], (labels == digit).nonzero()[:, 0]
        if len(there) < len(wanted):
            raise UserError(
                f"there are {len(wanted)} recordings of a {digit} and only {len(there)} pictures"
            )
        order = torch.from_numpy(generator.permutation(len(there)))
        found[wanted] = there[order[: len(wanted)]]
    return found


SPOKEN_DIGITS = of_modalities(
    "spoken-digits",
    "3,000 spoken digits, paired with MNIST images of the same class; four of the six speakers for "
    "training, one for validation, one for the test",
    SpokenDigits(),
    {"audio": Encoder(Frames, (BANDS,)), "image": Encoder(pictures, (1, 28))},
    len(DIGITS),
    epochs=10,
    learning_rate=2e-3,
)
