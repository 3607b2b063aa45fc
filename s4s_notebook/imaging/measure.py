"""Statistics of regions and masks: values in their unit, areas and volumes where they are certain.

Rules: a pixel counts where its centre is inside. Values are modality values (HU, ...), or those of
the volume that is given. Padding and NaN are left out and counted. SD is that of a population
(divided by n); percentiles are linear. A volume is pixels times the step between slices, not times
their thickness. An area is in mm2 only where one scale holds for all its pixels, else in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..errors import AmbiguousVolume, InvalidRegion
from .frame import Frame
from .geometry import depth
from .lengths import Scale, measured_length, scale_of_pixels
from .regions import Bits, Line, Shape
from .volume import UNEVEN, Volume, stated_thickness
from .windows import Array, Floats

PERCENTILES = (5.0, 25.0, 75.0, 95.0)
_CHANNELS = ("red", "green", "blue")
_BINS = 256
_SIZES = (
    "area", "area_unit", "outline_area", "volume", "volume_unit", "length", "length_unit", "note",
)  # fmt: skip


class Pictures(Protocol):
    """What :class:`~s4s_notebook.imaging.series.Series` offers to be measured."""

    @property
    def frames(self) -> tuple[Frame, ...]: ...  # noqa: D102
    @property
    def volumes(self) -> list[Volume]: ...  # noqa: D102


class _Picture(NamedTuple):
    """A picture to be measured: a frame, or a slice of a volume."""

    values: Array
    unit: str
    scales: tuple[Scale, ...]
    aspect: float


def statistics(
    series: Pictures,
    region: Any,
    frame: int | None = None,
    volume: Volume | None = None,
    percentiles: Sequence[float] = PERCENTILES,
) -> Any:
    """Return one row for each region, and for each volume of a series: see `Series.measure`."""
    import pandas as pd

    rows = []
    for name, entry in _named(region):
        for part in _parts(series, entry, frame, volume):
            stated = {"region": name, **part.about}
            sizes = {key: part.sizes.get(key) for key in _SIZES}
            for channel, values in part.channels():
                extra = {"channel": channel} if channel else {}
                rows.append(
                    {**stated, **extra, **_numbers(values, part.unit, percentiles), **sizes}
                )
    table = pd.DataFrame(rows)
    texts = ("area_unit", "volume_unit", "length_unit", "note", "region")
    numbers = [name for name in _SIZES if name not in texts]
    table = table.astype({**dict.fromkeys(numbers, "float64")})
    for name in texts:
        table[name] = table[name].fillna("").astype("str")
    return table


def histogram(
    series: Pictures,
    region: Any,
    frame: int | None = None,
    volume: Volume | None = None,
    bins: int | None = None,
) -> Any:
    """Return how many values lie in each bin: see `Series.histogram`."""
    import pandas as pd

    [part] = _only(series, region, frame, volume)
    tables = []
    for channel, values in part.channels():
        finite = values[np.isfinite(values)]
        _check_some(finite)
        edges = _edges(finite, bins)
        counts, _ = np.histogram(finite, edges)
        table = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "n": counts})
        if channel:
            table.insert(0, "channel", channel)
        tables.append(table)
    result = pd.concat(tables, ignore_index=True)
    result.attrs["unit"] = part.unit
    return result


def profile(
    series: Pictures, line: Line, frame: int | None = None, volume: Volume | None = None
) -> Any:
    """Return values along a line: see `Series.profile`."""
    import pandas as pd

    if not isinstance(line, Line):
        raise TypeError(f"A profile is along a Line, not {type(line).__name__}.")
    [part] = _only(series, line, frame, volume)
    unit = part.sizes["length_unit"]
    distance = np.linspace(0.0, part.sizes["length"], len(part.values))
    result = pd.DataFrame({f"distance_{unit}": distance})
    for channel, values in part.channels():
        result[channel or "value"] = values
    result.attrs.update(unit=part.unit, note=part.sizes["note"])
    return result


class _Part(NamedTuple):
    """The values of a region in one picture or volume, and how large it is there."""

    about: dict[str, Any]
    values: Array
    unit: str
    sizes: dict[str, Any]

    def channels(self) -> Iterator[tuple[str, Floats]]:
        """Yield each channel of colour with its name; "" for grey values."""
        values = np.asarray(self.values, np.float64)
        if values.ndim == 1:
            yield "", values
            return
        for at, name in enumerate(_CHANNELS):
            yield name, values[:, at]


def _named(region: Any) -> list[tuple[str, Any]]:
    if isinstance(region, Mapping):
        return [(str(name), entry) for name, entry in region.items()]
    entries = region if isinstance(region, list | tuple) else [region]
    return [(_name(entry, at), entry) for at, entry in enumerate(entries, 1)]


def _name(entry: Any, at: int) -> str:
    kind = "mask" if isinstance(entry, np.ndarray) else type(entry).__name__.lower()
    return str(getattr(entry, "name", "")) or f"{kind} {at}"


def _only(series: Pictures, region: Any, frame: int | None, volume: Volume | None) -> list[_Part]:
    parts = list(_parts(series, region, frame, volume))
    if len(parts) > 1:
        raise AmbiguousVolume(
            f"This series holds {len(parts):,} volumes.", hint="Name one: volume=series.volumes[0]."
        )
    return parts


def _as_mask(region: Any) -> Bits | None:
    values = getattr(region, "values", region)
    if not isinstance(values, np.ndarray):
        return None
    if values.dtype != np.bool_:
        raise TypeError(f"A mask is an array of bool, not of {values.dtype}: write mask > 0.")
    return values


def _parts(
    series: Pictures, region: Any, frame: int | None, volume: Volume | None
) -> Iterator[_Part]:
    mask = _as_mask(region)
    if mask is not None and mask.ndim == 3:
        volumes = [volume] if volume is not None else series.volumes
        for at, grid in enumerate(volumes):
            check_same_grid(mask, grid, getattr(region, "affine", None))
            about = {"volume_index": at} if len(volumes) > 1 else {}
            part = _of_volume(mask, grid, about)
            notes = [*getattr(region, "notes", ()), part.sizes["note"]]
            part.sizes["note"] = "; ".join(note for note in notes if note)
            yield part
        return
    frames = series.frames if volume is None else volume.frames or range(len(volume))
    index = _which(len(frames), frame)
    picture = _of_frame(frames[index]) if volume is None else _of_slice(volume, index)  # type: ignore[arg-type]
    about = {"frame": index}
    if isinstance(region, Line):
        yield _along(region, picture, about)
    elif mask is not None:
        yield _inside(mask, None, picture, about)
    elif isinstance(region, Shape):
        shape = picture.values.shape
        yield _inside(region.mask((shape[0], shape[1])), region, picture, about)
    else:
        raise TypeError(
            "A region is an Ellipse, Rectangle, Polygon or Line, a mask of the series, or an array "
            f"of bool, not {type(region).__name__}."
        )


def _which(total: int, frame: int | None) -> int:
    if frame is None and total == 1:
        return 0
    if frame is None:
        raise InvalidRegion(
            f"The shape lies in one of {total:,} pictures.", hint="Name it: frame=0 is the first."
        )
    if not -total <= frame < total:
        raise IndexError(f"There is no frame {frame}: the series has {total:,}.")
    return frame % total


def _of_frame(frame: Frame) -> _Picture:
    return _Picture(_clean(frame, frame.values()), frame.unit, frame.scales, frame.aspect)


def _clean(frame: Frame, values: Array) -> Array:
    """Return values with NaN in place of padding."""
    if frame.padding is None:
        return values
    stored = frame.stored()
    padded = (stored >= frame.padding.low) & (stored <= frame.padding.high)
    return np.where(padded, np.nan, values) if padded.any() else values


def _of_slice(volume: Volume, index: int) -> _Picture:
    values = volume.slice(index)
    if volume.frames:
        frame = volume.frames[index]
        return _Picture(_clean(frame, values), volume.unit, frame.scales, frame.aspect)
    _, down, across = volume.spacing
    return _Picture(values, volume.unit, (Scale(down, across),), down / across)


def check_same_grid(mask: Bits, grid: Volume, own: Floats | None) -> None:
    """Raise InvalidRegion unless a mask has the shape, and the place, of a volume."""
    if mask.shape != grid.shape:
        raise InvalidRegion(
            f"The mask is {mask.shape}, the volume {grid.shape} (slices, rows, columns).",
            hint="Use mask.resample(volume), or give the volume that the mask is of.",
        )
    if own is None:
        return
    far = np.array([*(n - 1 for n in grid.shape[::-1]), 1.0])
    shift = (np.asarray(own) - grid.affine) @ np.stack([[0.0, 0.0, 0.0, 1.0], far], axis=1)
    if np.abs(shift).max() > 0.05 * min(grid.spacing):
        raise InvalidRegion("The mask lies elsewhere than the volume, or has another spacing.")


def _of_volume(mask: Bits, grid: Volume, about: dict[str, Any]) -> _Part:
    """Return the values of a mask, slice by slice, and its volume."""
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    if not slices.size:
        raise InvalidRegion("No pixel centre lies inside the mask.")
    parts = [_of_slice(grid, int(index)).values[mask[index]] for index in slices]
    values = np.concatenate(parts)
    step, note = _step(grid, slices)
    if grid.frames and grid.frames[0].scales:
        note = "; ".join(filter(None, (note, grid.frames[0].scales[0].note)))
    sizes: dict[str, Any] = {"note": note}
    if step is not None:
        voxel = step * grid.spacing[1] * grid.spacing[2]
        sizes.update(volume=int(mask.sum()) * voxel, volume_unit="mm3")
    else:
        area = int(mask.sum()) * grid.spacing[1] * grid.spacing[2]
        sizes.update(area=area, area_unit="mm2")
    return _Part(about, values, grid.unit, sizes)


def _step(grid: Volume, slices: Any) -> tuple[float | None, str]:
    """Return the step between the slices of a mask and their neighbours, along the normal.

    Raises:
        AmbiguousVolume: the steps there are not even.
    """
    if not grid.frames:
        return abs(float(np.linalg.det(grid.affine[:3, :3]))) / (
            grid.spacing[1] * grid.spacing[2]
        ), ""
    if len(grid) == 1:
        thickness = stated_thickness(grid.frames[0])
        if thickness is None:
            return None, "no volume: one slice, and the file states no thickness"
        return thickness, "by the thickness that the file states"
    first, last = max(int(slices[0]) - 1, 0), min(int(slices[-1]) + 1, len(grid) - 1)
    depths = [depth(frame) or 0.0 for frame in grid.frames[first : last + 1]]
    steps = np.abs(np.diff(depths))
    usual = float(np.mean(steps))
    if np.abs(steps - usual).max() > UNEVEN * usual:
        raise AmbiguousVolume(
            f"The slices of the mask are not evenly spaced ({steps.min():.3g} to "
            f"{steps.max():.3g} mm), so its volume is not certain.",
            hint="Measure it slice by slice: measure(mask.values[k], frame=k).",
        )
    return usual, ""


def _inside(mask: Bits, shape: Shape | None, picture: _Picture, about: dict[str, Any]) -> _Part:
    """Return the values of a mask or shape in one picture, and its area."""
    size = picture.values.shape[:2]
    if mask.shape != size:
        raise InvalidRegion(f"The mask is {mask.shape}, the picture {size} (rows, columns).")
    rows, columns = np.nonzero(mask)
    if not rows.size:
        raise InvalidRegion("No pixel centre lies inside the region.")
    scale = scale_of_pixels(picture.scales, rows, columns)
    pixel, unit, notes = 1.0, "px", []
    if scale is not None and scale.spatial:
        pixel, unit = scale.down * scale.across, "mm2"
        notes.append(scale.note)
    else:
        notes.append(_no_area(scale))
    if shape is not None:
        (left, top), (right, bottom) = shape.outline.min(axis=0), shape.outline.max(axis=0)
        if min(left, top) < -0.5 or right > size[1] - 0.5 or bottom > size[0] - 0.5:
            notes.append("the outline goes beyond the picture")
    sizes = {
        "area": rows.size * pixel,
        "area_unit": unit,
        "outline_area": None if shape is None else shape.pixels * pixel,
        "note": "; ".join(note for note in notes if note),
    }
    return _Part(about, picture.values[mask], picture.unit, sizes)


def _no_area(scale: Scale | None) -> str:
    if scale is None:
        return "pixels: no one scale holds for all of the region"
    return (
        f"pixels: the scale is {scale.units[1] or 'none'} across, {scale.units[0] or 'none'} down"
    )


def _along(line: Line, picture: _Picture, about: dict[str, Any]) -> _Part:
    """Return values along a line, half a pixel apart at most, interpolated linearly."""
    rows, columns = picture.values.shape[:2]
    ends = np.array([line.start, line.end], np.float64)
    if (ends < -0.5).any() or (ends > np.array([columns, rows]) - 0.5).any():
        raise InvalidRegion(f"The line leaves the picture of {rows} rows and {columns} columns.")
    length = measured_length(picture.scales, line.start, line.end, picture.aspect)
    note = length.note
    if len(length.parts) > 1 or length.unit not in ("mm", "px"):
        note = f"{length}: no one distance"
        length = measured_length((), line.start, line.end, picture.aspect)
    across, down = np.abs(ends[1] - ends[0])
    aspect = picture.aspect
    smaller = min(1.0, aspect)  # in widths of a pixel
    count = int(np.ceil(np.hypot(across, down * aspect) / (smaller / 2))) + 1
    points = np.linspace(ends[0], ends[1], count)
    values = _interpolated(picture.values, points.clip(0, [columns - 1, rows - 1]))
    sizes = {"length": length.value, "length_unit": length.unit, "note": note}
    return _Part(about, values, picture.unit, sizes)


def _interpolated(values: Array, points: Floats) -> Floats:
    """Return values between pixels, by linear interpolation; a weight of 0 takes no NaN."""
    low = np.floor(points).astype(int)
    part = points - low
    result: Any = 0.0
    for right in (0, 1):
        for below in (0, 1):
            weight = np.abs(1 - right - part[:, 0]) * np.abs(1 - below - part[:, 1])
            row = np.minimum(low[:, 1] + below, values.shape[0] - 1)
            column = np.minimum(low[:, 0] + right, values.shape[1] - 1)
            value = values[row, column].astype(np.float64)
            weight = weight.reshape(-1, *[1] * (value.ndim - 1))
            result = result + np.where(weight > 0, weight * value, 0.0)
    return np.asarray(result, np.float64)


def _check_some(finite: Floats) -> None:
    if not finite.size:
        raise InvalidRegion("All pixels inside are padding, or have no value.")


def _numbers(values: Floats, unit: str, percentiles: Sequence[float]) -> dict[str, Any]:
    finite = values[np.isfinite(values)]
    _check_some(finite)
    result: dict[str, Any] = {
        "n": int(finite.size),
        "excluded": int(values.size - finite.size),
        "unit": unit,
        "mean": float(finite.mean()),
        "sd": float(finite.std()),
        "min": float(finite.min()),
        "max": float(finite.max()),
        "median": float(np.median(finite)),
        "sum": float(finite.sum()),
    }
    for entry, value in zip(percentiles, np.percentile(finite, percentiles), strict=True):
        result[f"p{entry:g}"] = float(value)
    return result


def _edges(finite: Floats, bins: int | None) -> Floats:
    """Return a bin for each whole number, or 256 from the 0.1st to the 99.9th percentile.

    Two more bins hold what lies beyond these, so that every value is counted.
    """
    low, high = float(finite.min()), float(finite.max())
    if bins is not None:
        return np.linspace(low, high if high > low else low + 1.0, bins + 1)
    if not np.any(finite % 1) and high - low < 2**14:
        return np.arange(low - 0.5, high + 1.0)
    first, last = (float(end) for end in np.percentile(finite, (0.1, 99.9)))
    inner = np.linspace(first, last, _BINS + 1)
    edges = np.unique([low, *inner, high])
    return edges if edges.size > 1 else np.array([low, low + 1.0])
