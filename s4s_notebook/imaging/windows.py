"""Windows and lookup tables: what turns modality values into grey levels (PS3.3 C.11)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgument

Array: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.float64]

#: Center and width in HU, by name; for CT.
PRESETS: dict[str, tuple[float, float]] = {
    "lung": (-600, 1500),
    "mediastinum": (40, 400),
    "soft tissue": (40, 400),
    "abdomen": (60, 400),
    "liver": (70, 150),
    "bone": (400, 1800),
    "brain": (40, 80),
    "subdural": (75, 215),
    "angio": (300, 600),
}
_HINT = 'Write window="auto", window=(40, 400), or the name of one that there is.'
_KINDS = "A window is a name, a number, (center, width) or (center, width, function)."
FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


@dataclass(frozen=True, slots=True)
class Window:
    """A window in modality units (HU for CT); ``function`` as in PS3.3 C.11.2.1.2-3."""

    center: float
    width: float
    function: str = "LINEAR"
    name: str = ""

    def __post_init__(self) -> None:
        least = 1.0 if self.function == "LINEAR" else 0.0
        if self.function not in FUNCTIONS:
            raise InvalidArgument(f"The window's function is one of {', '.join(FUNCTIONS)}.")
        if not (math.isfinite(self.center) and math.isfinite(self.width)):
            raise InvalidArgument("A window's center and width are finite numbers.")
        if self.width < least or (self.width == 0 and self.function != "LINEAR"):
            raise InvalidArgument(f"The width of a {self.function} window is at least {least:g}.")

    def levels(self, values: Array, black: float = 0.0, white: float = 255.0) -> Floats:
        """Return grey levels from ``black`` to ``white``, not yet truncated, in the values' shape.

        The order of operations is DCMTK's, so that truncation falls on the same side.
        """
        x = np.asarray(values, np.float64)
        reach = white - black
        with np.errstate(over="ignore", invalid="ignore"):
            if self.function == "SIGMOID":
                bent: Floats = 1.0 + np.exp(-4.0 * (x - self.center) / self.width)
                return black + reach / bent
            if self.function == "LINEAR_EXACT":
                center, width = self.center, self.width
                grey: Floats = black + reach / 2.0 + (x - center) * reach / width
            else:
                center, width = self.center - 0.5, self.width - 1.0
                slope = reach / width if width else 0.0
                grey = white - (center / width + 0.5) * reach + x * slope if width else x * 0.0
        grey[x <= center - width / 2.0] = black
        grey[x > center + width / 2.0] = white
        return grey


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A lookup table: ``entries[0]`` is for ``first`` and below, the last for all above."""

    first: int
    entries: Array
    bits: int
    name: str = ""

    def look_up(self, values: Array) -> Array:
        """Return the entries for whole ``values``, in the shape of ``values``."""
        with np.errstate(invalid="ignore"):
            index = np.clip(np.nan_to_num(values), self.first, self.first + len(self.entries) - 1)
        return np.asarray(self.entries[index.astype(np.int64) - self.first])

    def levels(self, values: Array, black: float = 0.0, white: float = 255.0) -> Floats:
        """Return grey levels from ``black`` to ``white``, not truncated: the VOI LUT's range."""
        step = (white - black) / (2**self.bits - 1)
        return np.asarray(black + self.look_up(values) * step, np.float64)


Choice: TypeAlias = Window | Table
WindowLike: TypeAlias = Window | Table | str | int | Sequence[float | str] | None


def spread(values: Array) -> Window:
    """Return the window from the smallest to the largest of the finite ``values``."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not finite.size:
        return Window(0.5, 1.0)
    low, high = float(finite.min()), float(finite.max())
    if values.dtype.kind == "f":
        width = min(high / 2 - low / 2, 8e307) * 2  # stays finite
        return Window(low / 2 + high / 2, width or 1.0, "LINEAR_EXACT")
    return Window((low + high + 1) / 2, high - low + 1)


def chosen(window: Any, own: tuple[Choice, ...], unit: str) -> Choice | None:
    """Return the window meant by ``window``; None stands for "from smallest to largest".

    ``window`` is None (the image's own first, else None), "auto" (None), the number or name
    of one of the image's ``own``, a preset's name for HU, ``(center, width)``,
    ``(center, width, function)``, a :class:`Window` or :class:`Table`.
    Raises ValueError, which lists the choices.
    """
    if window is None:
        return own[0] if own else None
    if isinstance(window, Window | Table):
        return window
    if isinstance(window, str):
        return _named(window, own, unit)
    if isinstance(window, int | np.integer) and not isinstance(window, bool):
        if not 0 <= window < len(own):
            raise InvalidArgument(
                f"The image has {len(own)} windows of its own, counted from 0.", hint=_HINT
            )
        return own[int(window)]
    numbers = tuple(window) if isinstance(window, Iterable) else ()
    if len(numbers) not in (2, 3):
        raise InvalidArgument(_KINDS, hint=_HINT)
    try:
        center, width = float(numbers[0]), float(numbers[1])
    except (TypeError, ValueError) as error:
        raise InvalidArgument(_KINDS, hint=_HINT) from error
    return Window(center, width, *(str(n).upper() for n in numbers[2:]))


def _named(name: str, own: tuple[Choice, ...], unit: str) -> Choice | None:
    requested = name.strip().casefold()
    if requested in ("auto", "full"):
        return None
    for entry in own:
        if entry.name.casefold() == requested:
            return entry
    if requested in PRESETS and unit == "HU":
        return Window(*PRESETS[requested], name=requested)
    names = [entry.name for entry in own if entry.name]
    if unit == "HU":
        names += PRESETS
    elif requested in PRESETS:
        raise InvalidArgument(
            f"{name!r} is a window in HU, but these values are not in HU.", hint=_HINT
        )
    raise InvalidArgument(
        f"No window is called {name!r}. There are: {', '.join(['auto', *names])}.", hint=_HINT
    )
