"""Draw slices as a matplotlib Figure that carries its own text for those who cannot see it."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke
from PIL import Image

from ..errors import DICOMError, InvalidArgument, OutOfRange
from ..wording import count, safe_text
from .attributes import AttributeReader
from .frame import Frame
from .geometry import edges
from .grey_levels import choose, shown
from .reader import parse
from .windows import Choice, Table, Window, WindowLike

_MOST = 12
_OVERLAY = (1.0, 0.9, 0.0, 1.0)
FrameLike: TypeAlias = int | Sequence[int] | str | None
_FRAME = 'frame is a number, several, None or "montage".'
_WRITE = 'Write plot(frame=3), plot(frame=[0, 5]) or plot("montage").'
_NICE = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)
_EDGES = {
    "left": (0.02, 0.5, "left", "center"),
    "right": (0.98, 0.5, "right", "center"),
    "top": (0.5, 0.98, "center", "top"),
    "bottom": (0.5, 0.02, "center", "bottom"),
}
_INK: dict[str, Any] = {
    "color": "white",
    "parse_math": False,
    "in_layout": False,  # it lies on the slice: it must not move it
    "bbox": {"facecolor": "black", "alpha": 0.5, "pad": 1, "lw": 0},
}
_EDGE = [Stroke(linewidth=4, foreground="black", alpha=0.5), Normal()]  # white on white is seen


class Picture(Figure):
    """A matplotlib Figure that shows itself once in a notebook, with ``alt`` as its text.

    For plots of one's own, with the arguments of Figure. It belongs to no pyplot state, so
    nothing is left open and nothing is drawn twice::

        picture = s4s.Picture(figsize=(8, 4), layout="constrained")
        picture.subplots().plot(days, amounts)
        picture.alt = "Payments rise from 20 dollars in 2004 to 400 in 2016."
        picture

    Attributes:
        alt: what the picture shows, for those who cannot see it.
    """

    alt: str = ""

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:  # noqa: ARG002 - IPython's signature
        """PNG with its text; HTML too, since JupyterLab shows a PNG's text to nobody."""
        png = base64.b64encode(self.png()).decode()
        words = html.escape(self.alt)
        page = f'<img alt="{words}" src="data:image/png;base64,{png}">'
        data = {"image/png": png, "text/html": page, "text/plain": self.alt}
        return data, {"image/png": {"alt": self.alt}}

    def png(self) -> bytes:
        """Return the picture as PNG, in one channel where it has no colour."""
        canvas: Any = FigureCanvasAgg(self)  # matplotlib does not type its methods
        canvas.draw()
        color = np.asarray(canvas.buffer_rgba())[..., :3]
        grey = bool((color == color[..., :1]).all())
        out = io.BytesIO()
        Image.fromarray(color[..., 0] if grey else color).save(out, "png")
        return out.getvalue()


def draw(
    frames: Sequence[Frame],
    heading: Sequence[str],
    noun: str,
    frame: FrameLike = None,
    *,
    window: WindowLike = None,
    name: bool = False,
    columns: int | None = None,
    size: float | None = None,
    colorbar: bool = True,
    letters: bool = True,
    scale: bool = True,
    overlays: bool = False,
) -> Picture:
    """Draw one slice, several, or a montage.

    Args:
        frames: the frames of a stack, at least one.
        heading: the parts of the title before the position; empty ones are left out.
        noun: what one frame is called: "slice", "frame" or "image".
        frame: see :meth:`Study.plot`, as for all that follow.
        window: a window as for :func:`~s4s_notebook.imaging.render`.
        name: True writes the person's name in the title.
        columns: of a montage.
        size: width in inches.
        colorbar: whether to draw the grey scale.
        letters: whether to letter the edges.
        scale: whether to draw a scale bar.
        overlays: whether to draw the file's overlays (groups 60xx), in yellow.

    Returns:
        The drawn figure.

    Raises:
        IndexError: for a slice that the stack does not have.
        ValueError: for an unknown window or selection.
        DICOMError: when a single slice cannot be decoded.
    """
    at = which(len(frames), frame)
    shown = [frames[index] for index in at]
    choices = common(shown, window)
    across = columns or _across(len(at))
    down = -(-len(at) // across)
    figure = _paper(shown[0], across, down, size, colorbar=colorbar)
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, index, drawn, choice in zip(axes, at, shown, choices, strict=False):
        _slice(axis, drawn, choice, alone=len(at) == 1)
        if len(at) > 1:
            axis.set_title(f"{index + 1}", fontsize=8, pad=2)
        if overlays:
            _overlays(axis, drawn)
        if letters:
            _letters(axis, drawn)
    if scale:
        _scale_bar(axes[len(at) - 1], shown[-1])
    same = choices[0] if len({id(choice) for choice in choices}) == 1 else None
    if colorbar and same is not None:
        _bar(figure, list(axes), shown[0], same)
    title, figure.alt = captions(len(frames), heading, noun, at, shown[0], same)
    if name:
        reader = AttributeReader(shown[0].instance.header())
        person, _ = parse(lambda: reader.text("PatientName"))
        title = f"{safe_text(person, 64)}\n{title}"
    figure.suptitle(drawable(title), fontsize=10, parse_math=False)
    return figure


def small(frames: Sequence[Frame], window: WindowLike, side: int) -> bytes:
    """Return the middle frame as PNG, its longer side ``side`` pixels; b"" where none is shown."""
    if not frames:
        return b""
    frame = frames[len(frames) // 2]
    try:
        image = Image.fromarray(shown(frame, window))
    except DICOMError:
        return b""  # plot() says why
    width, height = frame.columns, frame.rows * frame.aspect
    factor = side / max(width, height)
    out = io.BytesIO()
    image.resize((max(round(width * factor), 1), max(round(height * factor), 1))).save(out, "png")
    return out.getvalue()


def which(total: int, frame: FrameLike) -> list[int]:
    """Return the indices of the slices that ``frame`` selects. Raises IndexError, ValueError."""
    if frame is None:
        return [total // 2]
    if frame == "montage":
        return sorted({round(n) for n in np.linspace(0, total - 1, min(total, _MOST))})
    indices = [frame] if isinstance(frame, int | np.integer) else frame
    if isinstance(indices, str) or not isinstance(indices, Iterable):
        raise InvalidArgument(_FRAME, hint=_WRITE)
    indices = list(indices)
    if not indices:
        raise InvalidArgument("No slice was chosen.", hint=_WRITE)
    for index in indices:
        if not isinstance(index, int | np.integer):
            raise InvalidArgument(f"{safe_text(index, 40)!r} is no number of a slice.", hint=_WRITE)
        if not -total <= index < total:
            raise OutOfRange(
                f"There is no slice {index}: the series has {count(total, 'slice')}.",
                hint=f"They are counted from 0 to {total - 1}.",
            )
    return [int(index) % total for index in indices]


def _across(total: int) -> int:
    """Columns of a montage: about square, with few places left empty."""
    side = math.ceil(math.sqrt(total))
    return min((side, side + 1), key=lambda across: (-total % across, across))


def common(frames: Sequence[Frame], window: Any) -> list[Choice | None]:
    """Return a window for each frame; where they must be measured, one for all."""
    if frames[0].color:
        return [None] * len(frames)
    result: list[Choice | None] = []
    for frame in frames:
        try:
            result.append(choose(frame, window))
        except DICOMError:  # its text is drawn instead
            if len(frames) == 1:
                raise
            result.append(None)
    windows = [choice for choice in result if isinstance(choice, Window)]
    if len(set(windows)) == 1 and None not in result:
        return [windows[0]] * len(frames)
    if window in (None, "auto", "full") and not frames[0].windows and windows:
        low = min(choice.center - choice.width / 2 for choice in windows)
        high = max(choice.center + choice.width / 2 for choice in windows)
        joint = Window((low + high) / 2, high - low, windows[0].function)
        return [joint] * len(frames)
    return result


def _paper(frame: Frame, across: int, down: int, size: float | None, *, colorbar: bool) -> Picture:
    ratio = frame.rows * frame.aspect / max(frame.columns, 1)
    width = size or (6.0 if across == 1 else min(2.4 * across, 10.0))
    beside = 0.84 if colorbar and not frame.color else 1.0  # what the colour bar leaves
    height = beside * width / across * down * min(max(ratio, 0.2), 2.5)
    return Picture(figsize=(width, min(height, 14.0) + 0.6), dpi=100, layout="constrained")


def _slice(axis: Axes, frame: Frame, choice: Choice | None, *, alone: bool) -> None:
    axis.set_facecolor("black")
    try:
        grey = shown(frame, choice)
    except DICOMError as error:
        if alone:
            raise
        words = f"not shown:\n{type(error).__name__}"
        axis.text(0.5, 0.5, words, ha="center", va="center", transform=axis.transAxes, fontsize=8)
        return
    axis.imshow(grey, cmap="gray", vmin=0, vmax=255, aspect=frame.aspect)


def _overlays(axis: Axes, frame: Frame) -> None:
    """Draw the overlays of a frame over it."""
    for overlay in frame.overlays:
        color = np.zeros((*overlay.mask.shape, 4))
        color[overlay.mask] = _OVERLAY
        axis.imshow(color, aspect=frame.aspect, interpolation="nearest")


def _letters(axis: Axes, frame: Frame) -> None:
    """Where the picture's edges point in the body."""
    for edge, word in edges(frame).items():
        x, y, across, along = _EDGES[edge]
        where: dict[str, Any] = {"ha": across, "va": along, "transform": axis.transAxes}
        axis.text(x, y, word, fontsize=9, **where, **_INK)


def _scale_bar(axis: Axes, frame: Frame) -> None:
    """Draw a bar of a round length, at most a quarter of the width, bottom right."""
    if frame.spacing is None:
        return
    scale = next(scale for scale in frame.scales if scale.spatial)
    start, end, _, bottom = scale.region or (0, frame.columns, 0, frame.rows)
    wide = (end - start) * frame.spacing[1]
    length = max((nice for nice in _NICE if nice <= wide / 4), default=None)
    if length is None:
        return
    pixels = length / frame.spacing[1]
    right, y = end - 0.04 * (end - start), bottom - frame.rows * 0.07
    ends = [right - pixels, right]
    more: dict[str, Any] = {"solid_capstyle": "butt", "path_effects": _EDGE}
    axis.plot(ends, [y, y], color="white", lw=2, scalex=False, scaley=False, **more)
    label = f"{length / 10:g} cm" if length >= 10 else f"{length:g} mm"
    label += " at the detector" if scale.origin == "detector" else ""
    above = y - frame.rows * 0.012
    centered = scale.origin != "detector"  # the longer label ends where the bar ends
    x = right - pixels / 2 if centered else right
    axis.text(
        x, above, label, ha="center" if centered else "right", va="bottom", fontsize=8, **_INK
    )


def _bar(figure: Picture, axes: list[Axes], frame: Frame, choice: Choice) -> None:
    if isinstance(choice, Table):
        low, high = float(choice.first), float(choice.first + len(choice.entries) - 1)
    else:
        half = choice.width * (1.0 if choice.function == "SIGMOID" else 0.5)
        low, high = choice.center - half, choice.center + half
    if max(abs(low), abs(high)) > 1e300:
        return  # no ticks can be placed
    greys = np.nan_to_num(choice.levels(np.linspace(low, high, 256))) / 255.0
    if frame.photometric == "MONOCHROME1":
        greys = 1.0 - greys
    colors = ListedColormap(np.repeat(greys[:, None], 3, axis=1))
    mappable = ScalarMappable(Normalize(low, high if high > low else low + 1), colors)
    bar = figure.colorbar(mappable, ax=axes, fraction=0.04, pad=0.02)
    bar.set_label(drawable(frame.unit or "stored value"), fontsize=8, parse_math=False)
    bar.ax.tick_params(labelsize=8)


def captions(
    total: int,
    heading: Sequence[str],
    noun: str,
    at: Sequence[int],
    frame: Frame,
    choice: Choice | None,
) -> tuple[str, str]:
    """Return the title and the text for a screen reader; neither holds a name."""
    position = f"{noun} {at[0] + 1} of {total}"
    if len(at) > 1:
        position = f"{len(at)} of {count(total, noun)}"
    title = " · ".join([part for part in (*heading, position) if part])
    scale = _scale_words(frame, choice)
    size = f"{frame.columns} x {frame.rows} pixels"
    if frame.spacing is not None:
        size += f" of {frame.spacing[1]:.3g} x {frame.spacing[0]:.3g} mm"
        note = next((scale.note for scale in frame.scales if scale.spatial), "")
        size += f", {note}" if note else ""
        size += (
            " at the detector" if any(scale.origin == "detector" for scale in frame.scales) else ""
        )
    alt = f"Medical image: {title.replace(' · ', ', ')}. {scale}. {size}."
    return f"{title}\n{scale}", alt


def _scale_words(frame: Frame, choice: Choice | None) -> str:
    if choice is None:
        return "Colour" if frame.color else "Each with its own window"
    if isinstance(choice, Table):
        return f"Lookup table {choice.name}".strip()
    name = f"{choice.name}, " if choice.name else ""
    curve = "" if choice.function == "LINEAR" else f", {choice.function}"
    return (
        f"Window {name}center {choice.center:g}, width {choice.width:g} {frame.unit}".strip()
        + curve
    )


def drawable(text: str) -> str:
    """Return ``text`` with "?" for letters that the figure's font cannot draw."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    drawn = get_font(findfont(FontProperties())).get_charmap()
    return "".join(c if ord(c) in drawn or c == "\n" else "?" for c in text)
