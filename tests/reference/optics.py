"""A photonic co-processor, a number at a time, from the formulas.

Box and Muller 1958 on Philox's raw output; phase-shifting holography from Bruning et al. 1974,
off-axis holography from Takeda, Ina and Kobayashi 1982, anchors from Gupta et al. 2019. Matrices
are arrays ``(in, out)``.
"""

import cmath
import hashlib
import math

import numpy as np


def normals(seed, stream, count):
    """Return standard normal numbers, two for every two raw ones."""
    raw = np.random.Philox(key=[seed, stream]).random_raw(count + count % 2)
    found = []
    for first, second in zip(raw[0::2], raw[1::2], strict=True):
        u = ((int(first) >> 11) + 0.5) / 2**53
        v = ((int(second) >> 11) + 0.5) / 2**53
        radius = math.sqrt(-2 * math.log(u))
        found += [radius * math.cos(2 * math.pi * v), radius * math.sin(2 * math.pi * v)]
    return found[:count]


def key(*names):
    """Return the number of a random stream."""
    text = ", ".join(str(name) for name in names)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest())


def medium(seed, stream, inputs, outputs, number=0):
    """Return the transmission matrix, drawn by tiles of 4096 inputs and 64 outputs."""
    found = np.zeros((inputs, outputs), complex)
    for top in range(0, inputs, 4096):
        for left in range(0, outputs, 64):
            height, width = min(4096, inputs - top), min(64, outputs - left)
            drawn = normals(seed, key("medium", stream, number, top, left), 2 * height * width)
            for j in range(width):
                for i in range(height):
                    real, imaginary = drawn[2 * j * height + i], drawn[(2 * j + 1) * height + i]
                    found[top + i, left + j] = (real + 1j * imaginary) / math.sqrt(outputs)
    return found


def ternary(row, threshold, uneven):
    """Return a row's frames and their weights."""
    size = math.sqrt(sum(v * v for v in row) / len(row))
    plus = [1.0 if v > threshold * size else 0.0 for v in row]
    minus = [1.0 if v < -threshold * size else 0.0 for v in row]
    above = [v for v, kept in zip(row, plus, strict=True) if kept]
    below = [-v for v, kept in zip(row, minus, strict=True) if kept]
    if uneven:
        weights = [sum(kept) / len(kept) if kept else 0.0 for kept in (above, below)]
    else:
        weights = [sum(above + below) / max(1, len(above + below))] * 2
    return [plus, minus], [weights[0], -weights[1]]


def bit_planes(row, bits):
    """Return a row's frames and their weights."""
    largest, levels = max(abs(v) for v in row), 2**bits - 1
    whole = [round(v / largest * levels) for v in row]
    frames, weights = [], []
    for sign in (1, -1):
        for bit in range(bits):
            frames.append([float(max(0, sign * w) >> bit & 1) for w in whole])
            weights.append(sign * largest * 2**bit / levels)
    return frames, weights


def camera(intensity, photons, typical, full_well, bits):
    """Return what a camera without noise reads of one pixel."""
    electrons = intensity * photons / typical
    electrons = min(electrons, full_well)
    step = full_well / (2**bits - 1)
    return round(electrons / step) * step * typical / photons


def phase_shifting(field, amplitude, steps, read):
    """Return one output's field from shots with a reference beam of turning phase."""
    total = 0
    for k in range(steps):
        reference = amplitude * cmath.exp(2j * math.pi * k / steps)
        total += read(abs(field + reference) ** 2) * cmath.exp(2j * math.pi * k / steps)
    return total / (steps * amplitude)


def off_axis(fields, amplitude, read):
    """Return the fields of all outputs from one shot: explicit sums and an explicit carrier."""
    outputs = len(fields)
    pixels, carrier = 4 * outputs, 3 * outputs // 2
    bins = [k - outputs // 2 for k in range(outputs)]

    def wave(k, pixel):
        return cmath.exp(2j * math.pi * k * pixel / pixels)

    spectrum = {k: sum(y * wave(-k, 4 * j) for j, y in enumerate(fields)) / outputs for k in bins}
    intensities = []
    for p in range(pixels):
        y = sum(spectrum[k] * wave(k, p) for k in bins)
        intensities.append(read(abs(y + amplitude * wave(-carrier, p)) ** 2))
    # y r* lies on the carrier: bring it down and let low frequencies pass.
    demodulated = [i * wave(-carrier, p) for p, i in enumerate(intensities)]
    low = {k: sum(v * wave(-k, p) for p, v in enumerate(demodulated)) / pixels for k in bins}
    return [sum(low[k] * wave(k, 4 * j) for k in bins) / amplitude for j in range(outputs)]


def anchors(field, references, read):
    """Return one output's field by least squares from shots without and with each anchor."""
    alone = read(abs(field) ** 2)
    rows = [[a.real, a.imag] for a in references]
    sides = [(read(abs(field + a) ** 2) - alone - abs(a) ** 2) / 2 for a in references]
    (real, imaginary), *_ = np.linalg.lstsq(np.array(rows), np.array(sides), rcond=None)
    return complex(real, imaginary)


def phase_shifting_variance(field, amplitude, steps, reading):
    """Return that of one real output, from the variance of a reading of some intensity."""
    found = 0
    for k in range(steps):
        angle = 2 * math.pi * k / steps
        intensity = abs(field + amplitude * cmath.exp(1j * angle)) ** 2
        found += (math.cos(angle) / (steps * amplitude)) ** 2 * reading(intensity)
    return found


def off_axis_variance(fields, amplitude, reading):
    """Return the mean of that of all real outputs: what each gets from a reading of each pixel."""
    outputs = len(fields)
    pixels = 4 * outputs
    seen = []
    off_axis(fields, amplitude, lambda intensity: seen.append(intensity) or 0.0)
    found = 0
    for pixel, intensity in enumerate(seen):
        impulse = iter([float(p == pixel) for p in range(pixels)])
        weights = off_axis(fields, amplitude, lambda _, impulse=impulse: next(impulse))
        found += sum(w.real**2 for w in weights) * reading(intensity)
    return found / outputs


def anchors_variance(field, references, reading):
    """Return that of one real output: the shot without an anchor enters with all the others."""
    inverse = np.linalg.pinv(np.array([[a.real, a.imag] for a in references]))[0]
    found = (sum(inverse) / 2) ** 2 * reading(abs(field) ** 2)
    for weight, a in zip(inverse, references, strict=True):
        found += (weight / 2) ** 2 * reading(abs(field + a) ** 2)
    return found


def clipped(well, reference):
    """Return the share of ``|y + r|²`` above a well, y circular of power 1: Rice's distribution."""
    count, end, found = 4000, 12.0, 0.0
    for i in range(count):
        size = math.sqrt(well) + (i + 0.5) * (end - math.sqrt(well)) / count
        density = 2 * size * math.exp(-(size**2) - reference) * np.i0(2 * size * reference**0.5)
        found += density * (end - math.sqrt(well)) / count
    return float(found)


def clipping(well, reference, steps):
    """Return the mean square error of speckle of power 1 by phase shifting that clips."""
    sizes, phases, end, found = 500, 24, 6.0, 0.0
    for i in range(sizes):
        size = (i + 0.5) * end / sizes
        weight = 2 * size * math.exp(-(size**2)) * end / sizes / phases
        for j in range(phases):
            field = cmath.rect(size, 2 * math.pi * j / phases)
            seen = phase_shifting(field, reference**0.5, steps, lambda v: min(v, well))
            found += abs(seen - field) ** 2 * weight
    return found
