"""Soft-edged shapes on a slice, in millimetres: the brush that all phantoms paint with."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


class Canvas:
    """A square slice whose origin is its centre; x to the right, y downwards, in mm.

    Shapes are blended in with an edge about one millimetre wide, as partial volume makes
    it, and only their bounding box is touched: that keeps a 60-slice series near a second.
    """

    def __init__(self, size: int, spacing: float, fill: float) -> None:
        self.size = size
        self.spacing = spacing
        self.pixels: Image = np.full((size, size), fill, dtype=np.float32)
        self._axis = ((np.arange(size, dtype=np.float32) - (size - 1) / 2) * spacing).astype(
            np.float32
        )

    def _box(self, centre: float, reach: float) -> slice:
        middle = (self.size - 1) / 2
        low = math.floor((centre - reach) / self.spacing + middle)
        high = math.ceil((centre + reach) / self.spacing + middle) + 1
        return slice(max(0, low), min(self.size, max(0, high)))

    def ellipse(
        self,
        centre: tuple[float, float],
        radii: tuple[float, float],
        value: float | Image,
        *,
        turn: float = 0.0,
        edge: float = 1.2,
        power: float = 2.0,
        within: Image | None = None,
        weight: float = 1.0,
    ) -> None:
        """Blend one (super)ellipse in.

        ``radii`` in mm, ``turn`` in radians, ``power`` above 2 squares the corners off,
        ``within`` (a mask of the whole slice, 0..1) keeps the shape inside another one.
        """
        reach = max(radii) + edge
        rows, columns = self._box(centre[1], reach), self._box(centre[0], reach)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        mask = self._mask(centre, radii, rows, columns, turn=turn, edge=edge, power=power)
        if within is not None:
            mask = mask * within[rows, columns]
        if weight != 1.0:
            mask = mask * np.float32(weight)
        target = self.pixels[rows, columns]
        paint = value[rows, columns] if isinstance(value, np.ndarray) else np.float32(value)
        target += mask * (paint - target)

    def _mask(
        self,
        centre: tuple[float, float],
        radii: tuple[float, float],
        rows: slice,
        columns: slice,
        *,
        turn: float,
        edge: float,
        power: float,
    ) -> Image:
        x = self._axis[columns][None, :] - np.float32(centre[0])
        y = self._axis[rows][:, None] - np.float32(centre[1])
        if turn:
            cos, sin = np.float32(math.cos(turn)), np.float32(math.sin(turn))
            x, y = x * cos + y * sin, y * cos - x * sin
        u, v = np.abs(x / np.float32(radii[0])), np.abs(y / np.float32(radii[1]))
        if power == 2.0:
            radius = np.sqrt(u * u + v * v)
        else:
            radius = (u**power + v**power) ** np.float32(1 / power)
        depth = (1 - radius) * np.float32(min(radii))
        mask: Image = np.clip(depth / np.float32(edge) + np.float32(0.5), 0, 1)
        return mask

    def mask(
        self,
        centre: tuple[float, float],
        radii: tuple[float, float],
        *,
        turn: float = 0.0,
        edge: float = 1.2,
        power: float = 2.0,
    ) -> Image:
        """The shape as a mask of the whole slice, 0 outside and 1 inside."""
        whole = np.zeros((self.size, self.size), dtype=np.float32)
        reach = max(radii) + edge
        rows, columns = self._box(centre[1], reach), self._box(centre[0], reach)
        if rows.start < rows.stop and columns.start < columns.stop:
            whole[rows, columns] = self._mask(
                centre, radii, rows, columns, turn=turn, edge=edge, power=power
            )
        return whole

    def blend(self, mask: Image, value: float | Image) -> None:
        """Blend ``value`` in where ``mask`` (whole slice, 0..1) says."""
        self.pixels += mask * (value - self.pixels)


def band_noise(
    rng: np.random.Generator, size: int, *, low: float, high: float, sigma: float
) -> Image:
    """Noise between two spatial frequencies (cycles a pixel), as reconstruction leaves it."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    shape = frequency * np.exp(-((frequency / high) ** 2)) * (1 - np.exp(-((frequency / low) ** 2)))
    white = np.fft.rfft2(rng.standard_normal((size, size)))
    field = np.fft.irfft2(white * shape, s=(size, size))
    noise: Image = (field * (sigma / field.std())).astype(np.float32)
    return noise
