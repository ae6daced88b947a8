"""What a projection, and a step that uses it, would cost by light and by electronics alone.

Sums of what a device's figures say, not measurements. Parts are added up as if nothing overlapped,
which is the worst for both; a well-made pipeline hides the shorter ones.
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
    """The way between electronics and optics.

    Args:
        inputs: Bytes a second to the mirrors, of which each takes a bit.
        outputs: Bytes a second from the camera, of whose pixels each takes one or two.
    """

    inputs: Positive = 1e9
    outputs: Positive = 1e9

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Electronics:
    """The electronics beside the optics, or in its place.

    Args:
        rate: Floating-point operations a second in matrix products; see `measured_rate`.
        power: Watts while it works.
        simple_rate: Operations a second where each number is used once, as in encoding and
            recovering, which memory limits; None: those of a matrix product.
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
        encode: Seconds to turn rows into frames, electronic.
        send: Seconds to carry frames to the mirrors.
        shots: Seconds in which the camera takes pictures, optical.
        receive: Seconds to carry pictures back.
        recover: Seconds to find the linear part, electronic.
        product: Seconds of the matrix product, electronic, where there are no optics.
        joules: Of all that: the optics' power while it shows and sends, else the electronics'.
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
    """Return the operations a second of a matrix product whose time was measured."""
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
    """Return what the linear projection of some rows costs by light.

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
    """Return what the same projection costs as a dense matrix product."""
    product = 2.0 * rows * inputs * outputs / electronics.rate
    return PhotonicCost(product=product, joules=product * electronics.power)


def break_even(
    device: PhotonicProcessor, electronics: Electronics, link: Link, rows: int = 1
) -> int | None:
    """Return the least n for which light carries rows n → n as fast as a dense product does.

    None if that is over the device's limits. Light's time grows like n at most (n log n for
    off-axis holography) and a product's like n², so from there on light wins against it. It is no
    comparison with a structured projection such as `Hadamard`, whose time grows like n log n too.
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
    """Seconds and joules of a training step by direct feedback alignment.

    Args:
        forward: Seconds of the forward pass, electronic.
        nonlinearity: Seconds of activations and their derivatives, electronic.
        projection: Of the errors, by either way.
        gradients: Seconds of the weights' gradients, electronic.
        update: Seconds of the weights' update, electronic.
        joules: Of all that.
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
    """Return what a step of a fully connected network costs, given its errors' projection.

    One projection, to the widest hidden layer, teaches all layers (Launay et al. 2020).

    Args:
        projection: From `optical_cost` or `electronic_cost`.
        electronics: That do the rest.
        rows: Batch size.
        widths: Of the input and of every layer's output.
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
