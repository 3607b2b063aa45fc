"""A screening mammogram, stored as MONOCHROME1: 1/f texture, a dense disc, calcifications."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

ROWS, COLUMNS = 512, 384


def mammogram(seed: int, *, left: bool) -> NDArray[np.uint16]:
    """Stored values 0-4095 of one breast, shape (512, 384); low values are dense tissue.

    MONOCHROME1 shows low values white, so dense tissue is white on the screen.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:ROWS, 0:COLUMNS].astype(np.float32)
    depth = 1 - np.sqrt((x / 300) ** 2 + ((y - 262) / 215) ** 2)
    breast = np.clip(depth / 0.02, 0, 1)
    texture = _cloud(rng, max(ROWS, COLUMNS), 1.55)[:ROWS, :COLUMNS]
    disc = np.exp(-(((x - 120) / 95) ** 2 + ((y - 235) / 110) ** 2))
    dense = np.clip(0.20 + 0.42 * disc + 0.17 * texture, 0.03, 1)
    thickness = np.clip(depth * 2.6, 0, 1) ** 0.5
    absorbed = breast * thickness * (0.38 + 0.52 * dense)
    absorbed += 0.16 * _spot(x, y, (168, 190), 11) * breast
    for _ in range(18):
        centre = (168 + rng.normal(0, 10), 190 + rng.normal(0, 10))
        absorbed += 0.16 * _spot(x, y, centre, 0.9 + rng.random() * 0.7)
    muscle = np.clip((120 - x - 0.55 * y) / 30, 0, 1)
    absorbed = np.maximum(absorbed, 0.80 * muscle)
    noise = rng.normal(0, 0.010, absorbed.shape)
    stored = 4000 * (1 - np.clip(absorbed + noise, 0, 0.97))
    image = np.rint(stored).astype(np.uint16)
    return image if left else np.ascontiguousarray(image[:, ::-1])


def _spot(
    x: NDArray[np.float32], y: NDArray[np.float32], centre: tuple[float, float], radius: float
) -> NDArray[np.float32]:
    away = np.hypot(x - centre[0], y - centre[1])
    spot: NDArray[np.float32] = np.clip((radius - away) / max(1.0, radius * 0.4) + 0.5, 0, 1)
    return spot


def _cloud(rng: np.random.Generator, size: int, power: float) -> NDArray[np.float32]:
    """1/f noise with unit deviation: tissue has no favourite scale."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = math.inf
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) / frequency**power
    field = np.fft.irfft2(spectrum, s=(size, size))
    cloud: NDArray[np.float32] = (field / field.std()).astype(np.float32)
    return cloud
