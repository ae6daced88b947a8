"""The cost of a projection, and of a step that uses it, by light or by electronics alone.

The costs are computed from a device's figures, not measured. They are sums of parts without
overlap, which is the worst case for both; a good pipeline hides the shorter parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from beyondprop.optics.checks import positive
from beyondprop.optics.device import PhotonicProcessor
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Positive


@dataclass(frozen=True)
class Link:
    """The link between electronics and optics.

    Args:
        inputs: Bytes per second to the mirrors; each mirror takes one bit.
        outputs: Bytes per second from the camera; each pixel takes one or two bytes.
    """

    inputs: Positive = 1e9
    outputs: Positive = 1e9

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Electronics:
    """The electronics that support the optics or replace it.

    Args:
        rate: Floating-point operations per second in matrix products; see `measured_rate`.
        power: Watts under load.
        simple_rate: Operations per second where each number is used once, as in encoding and
            recovery, which are limited by memory; None for the rate of matrix products.
    """

    rate: Positive
    power: Positive
    simple_rate: Positive | None = None

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class PhotonicCost:
    """Seconds and joules of one batch's projection, part by part.

    Args:
        encode: Seconds to encode rows as frames, electronic.
        send: Seconds to send frames to the mirrors.
        shots: Seconds in which the camera takes pictures, optical.
        receive: Seconds to receive the pictures.
        recover: Seconds to recover the linear part, electronic.
        product: Seconds of the matrix product, electronic, if there are no optics.
        joules: Energy of all parts, at the optics' power while it sends, shows and receives, and
            otherwise at the electronics' power.
    """

    encode: float = 0.0
    send: float = 0.0
    shots: float = 0.0
    receive: float = 0.0
    recover: float = 0.0
    product: float = 0.0
    joules: float = 0.0

    @property
    def seconds(self) -> float:
        """All parts, one after the other."""
        return self.encode + self.send + self.shots + self.receive + self.recover + self.product


def measured_rate(seconds: float, rows: int, inputs: int, outputs: int) -> float:
    """Return the operations per second of a matrix product, given its measured time."""
    positive("the measured time, in seconds,", seconds)
    return 2.0 * rows * inputs * outputs / seconds


def optical_cost(
    device: PhotonicProcessor,
    electronics: Electronics,
    link: Link,
    rows: int,
    inputs: int,
    outputs: int,
) -> PhotonicCost:
    """Return the cost of the linear projection of some rows by light.

    Raises:
        UserError: A width is over the device's limits.
    """
    retrieval, specification = device.retrieval, device.specification
    device.check_widths(inputs, outputs, retrieval.pixels)
    frames = rows * device.encoder.frames
    shots = frames * retrieval.shots
    bytes_a_pixel = 1 if (device.camera.bits or 16) <= 8 else 2
    rate = electronics.simple_rate or electronics.rate
    # A comparison and a division for each entry of a frame; weights and sums after the retrieval.
    encode = 4.0 * frames * inputs / rate
    recover = frames * (retrieval.operations(outputs) + 2.0 * outputs) / rate
    send = frames * inputs / 8 / link.inputs
    exposed = shots / specification.frame_rate
    receive = shots * outputs * retrieval.pixels * bytes_a_pixel / link.outputs
    return PhotonicCost(
        encode=encode,
        send=send,
        shots=exposed,
        receive=receive,
        recover=recover,
        joules=(encode + recover) * electronics.power
        + (send + exposed + receive) * specification.power,
    )


def electronic_cost(electronics: Electronics, rows: int, inputs: int, outputs: int) -> PhotonicCost:
    """Return the cost of the same projection as a dense matrix product."""
    product = 2.0 * rows * inputs * outputs / electronics.rate
    return PhotonicCost(product=product, joules=product * electronics.power)


def break_even(
    device: PhotonicProcessor, electronics: Electronics, link: Link, rows: int = 1
) -> int | None:
    """Return the smallest n for which light projects rows n → n as fast as a dense product.

    Returns None if that exceeds the device's limits. The time of light grows at most like n (n log
    n for off-axis holography) and that of a product like n², so light is faster for every larger n.
    This is not a comparison with a structured projection such as `Hadamard`, whose time also grows
    like n log n.
    """

    def wins(side: int) -> bool:
        light = optical_cost(device, electronics, link, rows, side, side)
        return light.seconds <= electronic_cost(electronics, rows, side, side).seconds

    most = device.specification
    high = min(most.max_inputs, most.max_outputs // device.retrieval.pixels)
    if not wins(high):
        return None
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if wins(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class StepCost:
    """Seconds and joules of a training step with direct feedback alignment.

    Args:
        forward: Seconds of the forward pass, electronic.
        nonlinearity: Seconds of activations and their derivatives, electronic.
        projection: The cost of projecting the errors, optical or electronic.
        gradients: Seconds of the weights' gradients, electronic.
        update: Seconds of the weights' update, electronic.
        joules: Energy of all parts.
    """

    forward: float
    nonlinearity: float
    projection: PhotonicCost
    gradients: float
    update: float
    joules: float

    @property
    def seconds(self) -> float:
        """All parts, one after the other."""
        rest = self.forward + self.nonlinearity + self.gradients + self.update
        return rest + self.projection.seconds


def step_cost(
    projection: PhotonicCost, electronics: Electronics, rows: int, widths: Sequence[int]
) -> StepCost:
    """Return the cost of a step of a fully connected network, given its errors' projection.

    One projection, to the widest hidden layer, serves all layers (Launay et al. 2020).

    Args:
        projection: The cost from `optical_cost` or `electronic_cost`.
        electronics: The electronics that compute everything else.
        rows: The batch size.
        widths: The widths of the input and of every layer's output.
    """
    weights = sum(before * after for before, after in pairwise(widths))
    product = 2.0 * rows * weights / electronics.rate
    rate = electronics.simple_rate or electronics.rate
    nonlinearity = 8.0 * rows * sum(widths[1:-1]) / rate
    update = 2.0 * weights / rate
    electronic = 2 * product + nonlinearity + update
    return StepCost(
        forward=product,
        nonlinearity=nonlinearity,
        projection=projection,
        gradients=product,
        update=update,
        joules=electronic * electronics.power + projection.joules,
    )
