"""Standardised uptake values of PET: activity per dose and body size (PS3.3 C.8.9.1; QIBA).

SUV = activity concentration · body size / dose. The dose is decayed to the moment to which the
file's values are corrected. What is not certain from the headers is refused, never assumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from pydicom.dataset import Dataset

from ..errors import InvalidArgument, UncertainSUV
from .acquisition import clock_seconds, datetime_seconds, private_numbers
from .attributes import AttributeReader
from .frame import Frame
from .volume import Volume
from .windows import Array

#: Norm of an SUV, and its unit as DICOM codes it (CID 85).
UNITS = {
    "bw": "g/ml{SUVbw}",
    "lbm": "g/ml{SUVlbm}",
    "lbmjames128": "g/ml{SUVlbm(James128)}",
    "lbmjanma": "g/ml{SUVlbm(Janma)}",
    "bsa": "cm2/ml{SUVbsa}",
}
_PHILIPS, _GE, _SIEMENS = "Philips PET Private Group", "GEMS_PETD_01", "SIEMENS"
_DAY = 86400.0
_LEAST_DOSE = 1e4  # Bq; a smaller number is in MBq
_MOST_HALF_LIVES = 10
_SOON = 30 * 60.0  # seconds from injection to scan that are unusually few


class SUVScale(NamedTuple):
    """What turns the modality values of a PET series into SUVs.

    Attributes:
        factors: one for each frame: SUV = modality value · factor.
        unit: UCUM with DICOM's annotation, such as "g/ml{SUVbw}".
        notes: which times and factors were used, and what to look at.
    """

    factors: tuple[float, ...]
    unit: str
    notes: tuple[str, ...]


class SUVVolume(Volume):
    """A PET volume in SUV, indexed [slice, row, column]; float32.

    Attributes:
        factors: of each slice: SUV = modality value · factor.
        notes: which times and factors were used, and what to look at.
    """

    def __init__(self, frames: Sequence[Frame], scale: SUVScale) -> None:
        super().__init__(frames)
        self.factors, self.unit, self.notes = scale.factors, scale.unit, scale.notes
        self.dtype = np.dtype(np.float32)

    def slice(self, index: int) -> Array:
        """Return the SUVs of one slice, rows x columns."""
        return (self.frames[index].values() * self.factors[index]).astype(np.float32)

    def fresh_slice(self, index: int) -> Array:
        """Return the SUVs of one slice, without the cache of decoded frames."""
        return self.frames[index].fresh_values() * self.factors[index]


def suv_scale(frames: Sequence[Frame], norm: str = "bw", series: Sequence[Frame] = ()) -> SUVScale:
    """Return what turns the values of PET frames into SUVs.

    Args:
        frames: the pictures.
        norm: "bw" (body weight), "lbm" (lean body mass as in DICOM's SUVType LBM), "lbmjames128",
            "lbmjanma" (Janmahasatian), or "bsa" (body surface, Du Bois).
        series: all frames of the series, whose first acquisition counts; by default ``frames``.

    Raises:
        UncertainSUV: a value is missing, or contradicts another one; the attribute is named.
        ValueError: ``norm`` is none of these.
    """
    if norm not in UNITS:
        raise InvalidArgument(f"norm is one of {', '.join(UNITS)}, not {norm!r}.")
    readers = [_Reader(frame) for frame in frames]
    first = readers[0]
    if first.text("Modality") != "PT":
        raise _refused("Modality", "this is no PET series")
    total = readers if not series or len(series) == len(frames) else [*map(_Reader, series)]
    for keyword in ("Units", "DecayCorrection", "PatientWeight", "PatientSize", "SUVType"):
        if len({reader.text(keyword) for reader in total}) > 1:
            raise _refused(keyword, "it differs within the series")
    unit, notes = first.text("Units"), list[str]()
    size = _norm(first, norm, notes)
    if unit in ("GML", "CM2ML"):
        stated = first.text("SUVType") or ("BW" if unit == "GML" else "BSA")
        own = stated.lower()
        if own not in UNITS or (own == "bsa") != (unit == "CM2ML"):
            raise _refused("SUVType", f"{stated!r} in {unit} is not known")
        notes.append(f"the file's values are SUVs already ({stated})")
        factor = 1.0 if own == norm else size() / _norm(first, own, notes)()
        return SUVScale((factor,) * len(frames), UNITS[norm], tuple(notes))
    if unit == "CNTS":
        return _philips(readers, total, norm, size, notes)
    if unit != "BQML":
        raise _refused("Units", f"{unit or 'nothing'} is no activity per volume")
    factors = _of_activity(readers, total, size(), notes)
    return SUVScale(factors, UNITS[norm], tuple(dict.fromkeys(notes)))


class _Reader(AttributeReader):
    """The attributes of one frame's object."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame.instance.header())

    def needed(self, keyword: str, item: Dataset | None = None) -> float:
        """Return a number above 0; refuse where there is none."""
        value = self.number(keyword, item)
        if value is None or value <= 0:
            raise _refused(keyword, "it is missing" if value is None else f"it is {value:g}")
        return value

    def private(self, group: int, creator: str, offset: int) -> Any:
        """Return a private element of a creator whose name begins so, None without one."""
        for block in range(0x10, 0x100):
            name = self.dataset.get((group, block))
            if name is not None and str(name.value).strip().startswith(creator):
                element = self.dataset.get((group, block << 8 | offset))
                return None if element is None else element.value
        return None

    def when(self, name: str) -> float | None:
        """Return seconds of "Series" or "Acquisition" date and time; the series' date for both."""
        if name == "Acquisition" and (stated := datetime_seconds(self.text("AcquisitionDateTime"))):
            return stated
        day = self.text(f"{name}Date") or self.text("SeriesDate")
        return clock_seconds(day, self.text(f"{name}Time")) if len(day) == 8 else None

    @property
    def middle(self) -> float | None:
        """Seconds from the start of the frame to when its mean activity was (None: no duration)."""
        duration = self.number("ActualFrameDuration")
        if not duration or duration < 0:
            return None
        rate = math.log(2) / self.half_life
        counted = rate * duration / 1000.0
        return math.log(counted / (1 - math.exp(-counted))) / rate

    @property
    def agent(self) -> Dataset:
        """The one radiopharmaceutical."""
        items = self.items("RadiopharmaceuticalInformationSequence")
        if len(items) != 1:
            raise _refused(
                "RadiopharmaceuticalInformationSequence", f"it has {len(items)} items, not one"
            )
        return items[0]

    @property
    def half_life(self) -> float:
        """In seconds."""
        return self.needed("RadionuclideHalfLife", self.agent)


def _refused(keyword: str, why: str) -> UncertainSUV:
    return UncertainSUV(f"There is no certain SUV for these pictures: {keyword}: {why}.")


# ------------------------------------------------------------------ body size


def _norm(reader: _Reader, norm: str, notes: list[str]) -> Callable[[], float]:
    """Return what computes the body size: g of weight or lean mass, or cm2 of surface."""

    def size() -> float:
        weight = reader.needed("PatientWeight")
        if not 0.5 <= weight <= 400:
            raise _refused("PatientWeight", f"{weight:g} kg")
        if norm == "bw":
            return weight * 1000.0
        height = reader.needed("PatientSize") * 100.0
        if height > 300:
            height /= 100.0
            notes.append("PatientSize is above 3, so it was read as cm")
        if norm == "bsa":
            return float(0.007184 * weight**0.425 * height**0.725 * 1e4)
        sex = reader.text("PatientSex")
        if sex not in ("M", "F"):
            raise _refused("PatientSex", f"lean body mass needs M or F, not {sex!r}")
        lean = _lean(norm, weight, height, male=sex == "M")
        if lean <= 0:
            raise _refused("PatientSize", f"the formula gives a lean mass of {lean:.3g} kg")
        return lean * 1000.0

    return size


def _lean(norm: str, weight: float, height: float, *, male: bool) -> float:
    """Return lean body mass in kg, of kg and cm."""
    if norm == "lbmjanma":
        bmi = weight / (height / 100.0) ** 2
        return 9270 * weight / ((6680 + 216 * bmi) if male else (8780 + 244 * bmi))
    ratio = (weight / height) ** 2
    if male:
        return 1.10 * weight - (128 if norm == "lbmjames128" else 120) * ratio
    return 1.07 * weight - 148 * ratio


# ------------------------------------------------------------------ activity and decay


def _philips(
    readers: Sequence[_Reader],
    total: Sequence[_Reader],
    norm: str,
    size: Callable[[], float],
    notes: list[str],
) -> SUVScale:
    """Return the scale of Philips' counts, by the factors that it stores beside them."""
    to_suv = [_factor(reader, 0x00) for reader in readers]
    to_activity = [_factor(reader, 0x09) for reader in readers]
    if all(to_suv):
        notes.append("SUV by Philips' own factor (7053,1000)")
        ratio = 1.0 if norm == "bw" else size() / _norm(readers[0], "bw", notes)()
        factors = tuple(factor * ratio for factor in to_suv)
        _compare(readers, total, size, factors, to_activity, notes)
        return SUVScale(factors, UNITS[norm], tuple(dict.fromkeys(notes)))
    if not all(to_activity):
        raise _refused("Units", "these are counts, and no factor of the vendor scales them")
    notes.append("activity by Philips' own factor (7053,1009)")
    per_activity = _of_activity(readers, total, size(), notes)
    factors = tuple(a * b for a, b in zip(per_activity, to_activity, strict=True))
    return SUVScale(factors, UNITS[norm], tuple(dict.fromkeys(notes)))


def _factor(reader: _Reader, offset: int) -> float:
    """Return a factor of Philips above 0, else 0."""
    numbers = private_numbers(reader.private(0x7053, _PHILIPS, offset), 1)
    return max(numbers[0], 0.0) if numbers else 0.0


def _compare(
    readers: Sequence[_Reader],
    total: Sequence[_Reader],
    size: Callable[[], float],
    factors: Sequence[float],
    to_activity: Sequence[float],
    notes: list[str],
) -> None:
    """Note where Philips' second factor gives another SUV than the first."""
    if not all(to_activity):
        return
    try:
        other = _of_activity(readers, total, size(), [])[0] * to_activity[0]
    except UncertainSUV as error:
        notes.append(f"not checked with (7053,1009): {error.problem}")
        return
    if abs(other - factors[0]) > 0.01 * factors[0]:
        notes.append(f"by (7053,1009) and the dose it would be {other / factors[0]:.4g} times this")


def _of_activity(
    readers: Sequence[_Reader], total: Sequence[_Reader], size: float, notes: list[str]
) -> tuple[float, ...]:
    """Return SUV per Bq/ml of each frame."""
    first = readers[0]
    agent, half_life = first.agent, first.half_life
    dose = first.needed("RadionuclideTotalDose", agent)
    if dose < _LEAST_DOSE:
        raise _refused("RadionuclideTotalDose", f"{dose:g} Bq is far too little; is it in MBq?")
    rule = first.text("DecayCorrection")
    _check_corrected(first, rule)
    if rule == "ADMIN":
        notes.append("the values are corrected to the injection: the dose is not decayed")
        return (size / dose,) * len(readers)
    if rule not in ("START", "NONE"):
        raise _refused("DecayCorrection", f"{rule or 'nothing'} is not ADMIN, START or NONE")
    if rule == "NONE":
        return _undecayed(readers, total, size / dose, half_life, notes)
    start, source = _scan_start(total, notes)
    elapsed = _since_injection(first, start, half_life, notes)
    notes.append(f"dose decayed by {elapsed:,.0f} s, from the injection to the {source}")
    factor = size / dose * 2 ** (elapsed / half_life)
    other = _by_frames(total)
    if other is not None and abs(2 ** ((other - start) / half_life) - 1) > 0.01:
        notes.append(
            f"by FrameReferenceTime the scan began {other - start:+,.0f} s from then; "
            f"SUVs would be {2 ** ((other - start) / half_life):.4g} times these"
        )
    return (factor,) * len(readers)


def _check_corrected(reader: _Reader, rule: str) -> None:
    stated = reader.get("CorrectedImage")
    done = [stated] if isinstance(stated, str) else list(stated or ())
    for correction in ("ATTN",) if rule == "NONE" else ("ATTN", "DECY"):
        if correction not in done:
            raise _refused("CorrectedImage", f"it does not list {correction}")


def _undecayed(
    readers: Sequence[_Reader],
    total: Sequence[_Reader],
    factor: float,
    half_life: float,
    notes: list[str],
) -> tuple[float, ...]:
    """Return the factors of values that were not corrected for decay, by each frame's time."""
    result = []
    for reader in readers:
        start, middle = reader.when("Acquisition"), reader.middle
        if start is None or middle is None:
            missing = "AcquisitionTime" if start is None else "ActualFrameDuration"
            raise _refused(missing, "it is missing, and the values are not corrected for decay")
        elapsed = _since_injection(total[0], start, half_life, notes) + middle
        result.append(factor * 2 ** (elapsed / half_life))
    notes.append("the values were corrected for decay from each frame's AcquisitionTime")
    return tuple(result)


def _scan_start(total: Sequence[_Reader], notes: list[str]) -> tuple[float, str]:
    """Return the moment to which the values are corrected, and where that is from."""
    first = total[0]
    acquired = [time for reader in total if (time := reader.when("Acquisition")) is not None]
    series, earliest = first.when("Series"), min(acquired, default=None)
    if stated := datetime_seconds(first.text("DecayCorrectionDateTime")):
        return stated, "DecayCorrectionDateTime"
    if series is not None and (earliest is None or series <= earliest):
        if earliest is None:
            notes.append("no AcquisitionTime: SeriesTime is not checked")
        return series, "SeriesTime"
    for group, creator, offset, name in (
        (0x0009, _GE, 0x0D, "GE's scan time (0009,100D)"),
        (0x0071, _SIEMENS, 0x22, "Siemens' scan time (0071,1022)"),
    ):
        if stated := datetime_seconds(str(first.private(group, creator, offset) or "")):
            return stated, name
    by_frames = _by_frames(total)
    if by_frames is not None:
        return by_frames, "start by AcquisitionTime and FrameReferenceTime"
    if earliest is None:
        raise _refused("AcquisitionTime", "it is missing, and so is SeriesTime")
    return earliest, "first AcquisitionTime"


def _by_frames(total: Sequence[_Reader]) -> float | None:
    """Return the reference time of the series, as the frames' own times say it (the median)."""
    starts = []
    for reader in total:
        acquired, reference = reader.when("Acquisition"), reader.number("FrameReferenceTime")
        middle = reader.middle
        if acquired is None or reference is None or middle is None:
            return None
        starts.append(acquired - reference / 1000.0 + middle)
    return float(np.median(starts))


def _since_injection(reader: _Reader, time: float, half_life: float, notes: list[str]) -> float:
    """Return seconds from the injection to a time; refuse what cannot be."""
    agent = reader.agent
    injected = datetime_seconds(str(reader.get("RadiopharmaceuticalStartDateTime", agent) or ""))
    keyword = "RadiopharmaceuticalStartDateTime"
    if injected is None:
        keyword = "RadiopharmaceuticalStartTime"
        day = reader.text("SeriesDate") or reader.text("AcquisitionDate")
        stated = str(reader.get(keyword, agent) or "")
        injected = clock_seconds(day, stated) if len(day) == 8 else None
        if injected is None:
            raise _refused(keyword, "it is missing, or the series has no date")
        if injected > time:
            injected -= _DAY
            notes.append("the injection is later than the scan: the day before was taken")
    elapsed = time - injected
    if elapsed < 0:
        raise _refused(keyword, f"the injection is {-elapsed:,.0f} s after the scan")
    if elapsed > _MOST_HALF_LIVES * half_life:
        raise _refused(
            keyword, f"{elapsed:,.0f} s from injection to scan are more than 10 half-lives"
        )
    if elapsed < _SOON:
        notes.append(f"only {elapsed:,.0f} s from injection to scan")
    return elapsed
