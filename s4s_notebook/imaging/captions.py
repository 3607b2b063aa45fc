"""What a plot says in words: its title, and its text for those who cannot see it."""

from __future__ import annotations

from collections.abc import Sequence

from ..wording import count
from .frame import Frame
from .series import Series
from .windows import Choice, Table


def captions(
    series: Series, at: Sequence[int], frame: Frame, choice: Choice | None
) -> tuple[str, str]:
    """The title and the text for a screen reader; neither holds a name."""
    many = len(series.frames)
    noun = "frame" if series.frame_time is not None else "slice" if series.plane else "image"
    place = f"{noun} {at[0] + 1} of {many}"
    if len(at) > 1:
        place = f"{len(at)} of {count(many, noun)}"
    what = [series.modality, series.description, series.part, series.plane]
    title = " · ".join([part for part in (*what, place) if part])
    scale = _scale_words(frame, choice)
    size = f"{frame.columns} x {frame.rows} pixels"
    if frame.spacing is not None:
        size += f" of {frame.spacing[1]:.3g} x {frame.spacing[0]:.3g} mm"
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
    """``text`` with "?" for letters that the figure's font cannot draw."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties())).get_charmap()
    return "".join(one if ord(one) in known or one == "\n" else "?" for one in text)
