"""A series, or one stack of it: pictures in order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cards import card
from ..errors import AmbiguousVolume, DICOMError, MalformedDICOM, NotAnImage
from ..problems import Problem
from ..tracebacks import methods_without_variables
from ..wording import count, safe_text
from . import geometry
from .frame import Frame
from .instance import OVER_PICTURES, Instance
from .splitting import Split, split
from .windows import PRESETS, Choice, Window, WindowLike

if TYPE_CHECKING:
    from .masks import Dose, Mask
    from .plot import FrameLike, Picture
    from .regions import Line
    from .suv import SUVVolume
    from .volume import Volume
    from .volume_stack import VolumeStack


_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"


@methods_without_variables
@dataclass(frozen=True, eq=False)
class Series:
    """Frames of one series with one orientation and size; or an object without pictures.

    Attributes:
        uid: Series Instance UID; stack: number of this stack within it, from 1; of: how many.
        instances: the DICOM objects, in the order of their first frame.
        frames: the pictures, volume by volume, each sorted along the normal; empty for an object
            without pictures.
        copies: problems of files that were left out, because their SOP Instance UID was there.
        over: segmentations, structure sets and doses of the study.
        number, numbers: of the one volume that this is, from 1, and how many there are; 0 for all.
    """

    uid: str
    instances: tuple[Instance, ...]
    frames: tuple[Frame, ...]
    stack: int = 1
    of: int = 1
    copies: tuple[Problem, ...] = ()
    number: int = 0
    numbers: int = 0
    over: tuple[Instance, ...] = ()

    @property
    def key(self) -> str:
        """Unique within a study: series UID, "#", stack number, and the volume's, if it is one."""
        return f"{self.uid}#{self.stack}" + (f".{self.number}" if self.number else "")

    @property
    def modality(self) -> str:
        """Modality (0008,0060) of the first object, as in "CT"."""
        return self.instances[0].modality

    @property
    def description(self) -> str:
        """Series Description (0008,103E) of the first object; "" where it has none."""
        return self.instances[0].description

    @property
    def kind(self) -> str:
        """What the objects are, in DICOM's words: "CT Image Storage", "Basic Text SR Storage"."""
        return self.instances[0].kind

    @property
    def plane(self) -> str:
        """Axial, coronal, sagittal or oblique, in small letters; "" when the file does not say."""
        return geometry.plane(self.frames[0].orientation) if self.frames else ""

    @property
    def label(self) -> str:
        """Short and without names: "CT · Chest · axial · 60 slices"."""
        parts = [self.modality, self.description, self.plane]
        if self.frames and (self.modality == "SEG" or self._tiles):  # no picture as others are
            parts.insert(1, self.kind)
        parts.append(self.part)
        parts.append(self.kind if not self.frames else self._amount)
        return " · ".join(part for part in parts if part)

    @property
    def _amount(self) -> str:
        """How many pictures: "60 slices", or "5 volumes of 4 slices"."""
        stacks = self.stacks
        sizes = {len(stack.frames) for stack in stacks}
        if len(stacks) > 1 and len(sizes) == 1:
            return f"{len(stacks):,} volumes of {count(sizes.pop(), self._noun)}"
        return count(len(self.frames), self._noun)

    @property
    def part(self) -> str:
        """Which part of its series it is: a segment's label, "stack 1 of 2", or "" for all."""
        if self.frames and self.frames[0].segment:
            return self.frames[0].segment
        parts = [f"stack {self.stack} of {self.of}" if self.of > 1 else ""]
        parts.append(f"volume {self.number} of {self.numbers}" if self.number else "")
        return ", ".join(part for part in parts if part)

    @property
    def _tiles(self) -> bool:
        """Whether each frame is a part of one large picture of a microscope."""
        return self.instances[0].sop_class == _WHOLE_SLIDE

    @property
    def _noun(self) -> str:
        if self._tiles:
            return "tile"
        return "frame" if self.frame_time is not None else "slice" if self.plane else "image"

    @property
    def frame_time(self) -> float | None:
        """Milliseconds a frame for cine (the mean, where frames differ), None for stills."""
        times = self.instances[0].frame_times if len(self.instances) == 1 else None
        if times is None or len({frame.position for frame in self.frames}) > 1:
            return None
        steps = times[1:] or times  # a vector's first entry is 0 by definition
        return sum(steps) / len(steps) or None

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """What did not parse, and copies, gaps, uneven steps, gantry tilt, volumes not certain."""
        own = [problem for element in self.instances for problem in element.problems]
        own += self.copies
        # The frames of a clip all have the same position, as they should.
        if self.frame_time is not None:
            return tuple(own)
        stacks = self.stacks
        remarks = [
            remark for stack in stacks for remark in geometry.remarks(stack.frames, self.uid)
        ]
        try:
            notes: tuple[str, ...] = self._split.notes
        except AmbiguousVolume as error:
            notes = (error.problem,)
        own += [Problem(self.uid, "ImagePositionPatient", "", note) for note in notes]
        return tuple(own + list(dict.fromkeys(remarks)))

    @cached_property
    def _split(self) -> Split:
        return split(self.frames)

    @cached_property
    def stacks(self) -> tuple[Series, ...]:
        """This series volume by volume; itself where it is one, or cannot be split.

        Frames that all have one position, or none, are a clip and stay together.
        """
        if self.number or not self._placed or len(set(geometry.positions(self.frames))) < 2:
            return (self,)
        try:
            parts = self._split.parts
        except AmbiguousVolume:
            return (self,)
        if len(parts) == 1:
            return (self,)
        owners = {frame: entry for entry in self.instances for frame in entry.frames}
        return tuple(
            replace(
                self,
                instances=tuple(dict.fromkeys(owners[frame] for frame in part.frames)),
                frames=part.frames,
                copies=(),
                number=at,
                numbers=len(parts),
            )
            for at, part in enumerate(parts, 1)
        )

    @property
    def _placed(self) -> bool:
        return bool(self.frames) and geometry.depth(self.frames[0]) is not None

    @property
    def window_choices(self) -> dict[str, Choice]:
        """Windows by name: the file's own (of the middle slice) first, then presets for HU."""
        if not self.frames or self.frames[0].color:
            return {}
        middle = self.frames[len(self.frames) // 2]
        result: dict[str, Choice] = {}
        for at, element in enumerate(middle.windows):
            result.setdefault(element.name or f"file {at + 1}", element)
        if middle.unit == "HU":
            for name, numbers in PRESETS.items():
                result.setdefault(name, Window(*numbers, name=name))
        return result

    @cached_property
    def grey_range(self) -> Window | None:
        """One window for all slices where the file states none; None where it does, or in colour.

        See :func:`~s4s_notebook.imaging.grey_levels.shared_range`.
        """
        from .grey_levels import shared_range

        return shared_range(self.frames) if len(self.frames) > 1 else None

    @property
    def volumes(self) -> list[Volume]:
        """The volumes of the series: one, or one for each time point, echo, b-value, ...

        Raises:
            AmbiguousVolume: the headers do not tell the pictures at one position apart.
            NotAnImage: the frames have no position or are in colour.
        """
        from .volume import Volume

        return [Volume(part.frames) for part in self._parts(None).parts]

    def volume(self, index: int | None = None, *, split_by: str | None = None) -> Volume:
        """Return one volume with axes in mm; slices are decoded when they are used.

        Args:
            index: which of several volumes, from 0; needed where there are several.
            split_by: the DICOM keyword whose values tell volumes apart ("AcquisitionNumber").

        Raises:
            AmbiguousVolume: there are several, or the headers do not tell them apart.
            NotAnImage: the frames have no position or are in colour.
        """
        from .volume import Volume

        result = self._parts(split_by)
        if index is None and len(result.parts) > 1:
            raise AmbiguousVolume(
                f"This series holds {len(result.parts):,} volumes"
                + (f" ({', '.join(result.axes)})." if result.axes else "."),
                hint="Use volume(0) for the first, .volumes for all, or stack4d().",
            )
        return Volume(result.parts[index or 0].frames)

    def suv(
        self, norm: str = "bw", index: int | None = None, *, split_by: str | None = None
    ) -> SUVVolume:
        """Return a PET volume in standardised uptake values; ``notes`` say which times were used.

        Args:
            norm: "bw" (body weight), "lbm" (lean body mass), "lbmjames128", "lbmjanma" or "bsa".
            index: as for :meth:`volume`.
            split_by: as for :meth:`volume`.

        Raises:
            UncertainSUV: a value that is needed is missing or contradicts another one.
            AmbiguousVolume: as for :meth:`volume`.
        """
        from .suv import SUVVolume, suv_scale

        frames = self.volume(index, split_by=split_by).frames
        return SUVVolume(frames, suv_scale(frames, norm, self.frames))

    @property
    def masks(self) -> list[Mask]:
        """The segments and contours of the study on the grid of this series.

        Segmentations (binary, fractional, label maps) and structure sets of the same frame of
        reference; read when they are used. What has no mask here is named in a warning.

        Raises:
            UncertainMask: none of those that the study holds lies evidently in the space of this
                series; the message says why.
            NotAnImage: the frames make no volume.
        """
        from .contours import contour_masks
        from .masks import CONTOURS, DOSE, laid
        from .segments import segment_masks

        objects = [entry for entry in self.over if entry.sop_class != DOSE]
        return laid(
            objects,
            lambda entry, others: (contour_masks if entry.sop_class == CONTOURS else segment_masks)(
                entry, self._grid, others
            ),
        )

    @property
    def doses(self) -> list[Dose]:
        """The radiotherapy doses of the study in Gy, on the grid of this series. Needs scipy.

        Interpolated linearly; NaN outside of the dose grid.

        Raises:
            UncertainMask: none of those that the study holds lies evidently in the space of this
                series, or is in Gy.
        """
        from .masks import DOSE, dose_on, laid

        objects = [entry for entry in self.over if entry.sop_class == DOSE and entry.frames]
        return laid(objects, lambda entry, _: [dose_on(entry, self._grid)])

    @property
    def _grid(self) -> Volume:
        """The volume on whose grid masks lie: the first, where all lie at the same places."""
        from .volume_stack import check_grid

        volumes = self.volumes
        check_grid(volumes)
        return volumes[0]

    def measure(
        self,
        region: Any,
        frame: int | None = None,
        *,
        volume: Volume | None = None,
        percentiles: Sequence[float] = (5, 25, 75, 95),
    ) -> Any:
        """Return statistics of a region as a DataFrame, one row for each region.

        A pixel counts where its centre is inside. ``sd`` is that of a population (divided by n).
        Padding and pixels without a value are left out, and counted in ``excluded``; sizes count
        them. Pictures in colour have a row for each channel.

        Args:
            region: an :class:`Ellipse`, :class:`Rectangle`, :class:`Polygon` or :class:`Line` in
                (column, row); an array of bool, of one picture or of a volume; one of ``masks``;
                or a list or mapping of these.
            frame: in which picture a shape lies, from 0; needed where there are several.
            volume: whose values are measured, such as ``series.suv()``; by default the modality
                values of the series. A mask of a series of several volumes has a row for each.
            percentiles: which to give, in columns p5, p25, ...

        Returns:
            Columns region, frame (or volume_index), n, excluded, unit (of the values), mean, sd,
            min, max, median, sum and percentiles; area (n pixels) with area_unit and
            outline_area (by the outline's geometry); volume with volume_unit; length with
            length_unit; note (where a scale is from, or why an area is in pixels).

        Raises:
            InvalidRegion: no pixel centre is inside, or the mask does not fit.
            AmbiguousVolume: the slices of a mask are not evenly spaced.
            IndexError: there is no such frame.

        >>> from pydicom.data import get_testdata_file
        >>> from s4s_notebook.imaging import Ellipse, read
        >>> series = read(get_testdata_file("CT_small.dcm")).series[0]
        >>> table = series.measure(Ellipse((64, 64), (10, 10)))
        >>> table[["n", "mean", "sd", "unit", "area", "area_unit"]].round(1)
             n   mean     sd unit   area area_unit
        0  317  441.3  303.6   HU  138.7       mm2
        """
        from .measure import statistics

        return statistics(self, region, frame, volume, percentiles)

    def histogram(
        self,
        region: Any,
        frame: int | None = None,
        *,
        volume: Volume | None = None,
        bins: int | None = None,
    ) -> Any:
        """Return how many values of a region lie from ``low`` to ``high``, as a DataFrame.

        Args:
            region: as for :meth:`measure`.
            frame: as for :meth:`measure`.
            volume: as for :meth:`measure`.
            bins: how many from the smallest to the largest value; by default one for each whole
                number, else 256 from the 0.1st to the 99.9th percentile and one at either end.

        Returns:
            Columns low, high and n; each bin is open at its high end, except the last.
        """
        from .measure import histogram

        return histogram(self, region, frame, volume, bins)

    def profile(self, line: Line, frame: int | None = None, *, volume: Volume | None = None) -> Any:
        """Return the values along a line as a DataFrame: distance_mm (or distance_px) and value.

        Values are half a pixel apart at most, both ends included, and interpolated linearly.
        """
        from .measure import profile

        return profile(self, line, frame, volume)

    def stack4d(self, *, split_by: str | None = None) -> VolumeStack:
        """Return all volumes as one array with named axes, decoded slice by slice when used.

        Raises:
            AmbiguousVolume: the volumes do not lie at the same positions, or are not certain.
        """
        from .volume_stack import VolumeStack

        return VolumeStack.of(self._parts(split_by))

    def _parts(self, split_by: str | None) -> Split:
        if not self.frames:
            raise NotAnImage(f"This is no image but: {self.kind}.")
        return self._split if split_by is None else split(self.frames, split_by)

    def to_xarray(self) -> Any:
        """Return an xarray DataArray, read slice by slice when used. Needs xarray.

        Its dimensions are (z, y, x), with those that tell several volumes apart before them:
        part, echo, inversion_time, flip_angle, b_value, phase, time.
        """
        if len(self._parts(None).parts) > 1:
            return self.stack4d().to_xarray()
        return self.volume().to_xarray()

    def to_nifti(
        self,
        path: str | Path,
        *,
        sheared: bool = False,
        resample: bool = False,
        sidecar: bool = True,
    ) -> Path:
        """Write NIfTI-1 (.nii or .nii.gz), 3-D, 4-D or RGB, slice by slice. Needs nibabel.

        For the arguments see :meth:`Volume.to_nifti` and :meth:`VolumeStack.to_nifti`.
        """
        parts = self._parts(None).parts
        if len(parts) > 1:
            return self.stack4d().to_nifti(
                path, sheared=sheared, resample=resample, sidecar=sidecar
            )
        from .volume import ColorVolume

        volume = ColorVolume(parts[0].frames) if self.frames[0].color else self.volume()
        return volume.to_nifti(path, sheared=sheared, resample=resample, sidecar=sidecar)

    def save_png(self, folder: str | Path, window: Any = None, bits: int = 8) -> list[Path]:
        """Write each picture as "0001.png", ... in a folder that is made; return their paths.

        Args:
            folder: where to write.
            window: as for :func:`~s4s_notebook.imaging.render`; by default the file's own, or one
                for the series.
            bits: see :meth:`Frame.save_png`.
        """
        Path(folder).mkdir(parents=True, exist_ok=True)
        shared = self.grey_range if window is None else window
        width = max(4, len(str(len(self.frames))))
        return [
            frame.save_png(Path(folder) / f"{at:0{width}}.png", shared, bits)
            for at, frame in enumerate(self.frames, 1)
        ]

    def save_document(self, path: str | Path, index: int = 0) -> Path:
        """Write the document that an object encapsulates (PDF, CDA, STL), byte by byte.

        Args:
            path: the file to write.
            index: which of ``instances``, from 0.

        Raises:
            NotAnImage: the object holds no document.
            MalformedDICOM: it is said to be a PDF and does not begin as one.
        """
        header = self.instances[index].header()
        data = header.get("EncapsulatedDocument")
        if not data:
            raise NotAnImage(f"This holds no document; it is: {self.kind}.")
        length = int(header.get("EncapsulatedDocumentLength", 0) or 0)
        data = data[:length] if 0 < length <= len(data) else data
        if header.get("MIMETypeOfEncapsulatedDocument") == "application/pdf" and (
            b"%PDF-" not in data[:1024]
        ):
            raise MalformedDICOM("The document is said to be a PDF, and does not begin as one.")
        Path(path).write_bytes(data)
        return Path(path)

    def plot(
        self,
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
        """Draw this series: see :meth:`Study.plot`."""
        from .plot import draw

        if isinstance(frame, str) and frame.strip().casefold() != "montage":
            frame, window = None, frame  # plot("lung")
        if not self.frames:
            raise NotAnImage(f"This is no image but: {self.kind}.")
        heading = [self.modality, self.description, self.part, self.plane]
        return draw(
            self.frames,
            heading,
            self._noun,
            frame,
            window=self.grey_range if window is None else window,
            name=name,
            columns=columns,
            size=size,
            colorbar=colorbar,
            letters=letters,
            scale=scale,
            overlays=overlays,
        )

    def thumbnail(self, side: int = 128) -> bytes:
        """Return the middle picture as PNG, its longer side ``side`` pixels; b"" where none is."""
        from .plot import small

        return small(self.frames, self.grey_range, side)

    def __repr__(self) -> str:
        return f"<Series {self.label}>"

    def _repr_html_(self) -> str:
        frame = self.frames[0] if self.frames else None
        spacing = (
            ""
            if frame is None or frame.spacing is None
            else (f"{frame.spacing[1]:.3g} x {frame.spacing[0]:.3g} mm")
        )
        facts = [
            (
                "Pictures",
                "" if frame is None else f"{self._amount} of {frame.columns} x {frame.rows} pixels",
            ),
            ("Pixel", spacing),
            ("Problems", "; ".join(safe_text(one.why, 80) for one in self.problems[:3])),
            ("UID", self.instances[0].series_uid),
        ]
        picture = self.thumbnail()
        return card(f"Series {self.label}", facts, picture=picture, alt=f"Middle of {self.label}")


def arrange(instances: Iterable[Instance]) -> list[Series]:
    """Arrange instances into the series of a study, by series number, then stack."""
    by_uid: dict[str, list[Instance]] = {}
    instances = list(instances)
    over = tuple(element for element in instances if element.sop_class in OVER_PICTURES)
    for element in instances:
        by_uid.setdefault(element.series_uid, []).append(element)
    result = [
        replace(series, over=over)
        for uid, total in by_uid.items()
        for series in _of_uid(uid, total)
    ]
    return sorted(result, key=_order)


def _of_uid(uid: str, instances: Sequence[Instance]) -> list[Series]:
    unique, copies = without_copies(instances)
    owners = {frame: instance for instance in unique for frame in instance.frames}
    groups: list[tuple[tuple[Instance, ...], tuple[Frame, ...]]] = []
    for group in geometry.group_slices(owners):
        frames = _in_volumes(group)
        groups.append((tuple(dict.fromkeys(owners[frame] for frame in frames)), frames))
    groups.sort(key=lambda group: (-len(group[1]), _number(group[0][0])))
    kinds: dict[str, list[Instance]] = {}
    for element in unique:
        if not element.frames:
            kinds.setdefault(element.sop_class, []).append(element)
    groups += [(tuple(total), ()) for total in kinds.values()]
    return [
        Series(uid, *group, at + 1, len(groups), copies if at == 0 else ())
        for at, group in enumerate(groups)
    ]


def _in_volumes(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    """Return the frames volume by volume; as they are where they make none."""
    try:
        return tuple(frame for part in split(frames).parts for frame in part.frames)
    except AmbiguousVolume:
        return tuple(frames)


def without_copies(
    instances: Sequence[Instance],
) -> tuple[list[Instance], tuple[Problem, ...]]:
    """Return one object for each SOP Instance UID, and problems that name what was left out."""
    first: dict[str, Instance] = {}
    unique: list[Instance] = []
    equal, problems = 0, []
    for element in instances:
        original = first.setdefault(element.sop_uid, element) if element.sop_uid else element
        if original is element:
            unique.append(element)
        elif _same_pixels(original, element):
            equal += 1
        else:
            names = " and ".join(
                e.path.name if e.path else "a dataset" for e in (original, element)
            )
            why = f"{names} have one SOP Instance UID and different pixels; the first is used"
            problems.append(Problem(element.sop_uid, "SOPInstanceUID", "", why))
    if equal:
        why = f"{count(equal, 'file')} left out: a copy of another one"
        problems.insert(0, Problem(unique[0].series_uid, "SOPInstanceUID", "", why))
    return unique, tuple(problems)


def _same_pixels(first: Instance, second: Instance) -> bool:
    """Return whether two objects hold the same pixels, also where one was compressed again."""
    if pixel_digest(first) == pixel_digest(second):
        return True
    if first.syntax == second.syntax or len(first.frames) != len(second.frames):
        return False
    try:
        pairs = zip(first.frames, second.frames, strict=True)
        return all(np.array_equal(one.stored(), other.stored()) for one, other in pairs)
    except DICOMError:  # what cannot be decoded cannot be compared
        return False


def pixel_digest(instance: Instance) -> bytes:
    """Return a SHA-256 of the object's pixel data as stored, with its transfer syntax."""
    digest = hashlib.sha256(instance.syntax.encode())
    if instance.count:
        with instance.open_pixels() as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.digest()


def _number(element: Instance) -> float:
    return float("inf") if element.number is None else element.number


def _order(series: Series) -> tuple[bool, float, str, int]:
    number = series.instances[0].series_number
    return (
        not series.frames, float("inf") if number is None else number, series.uid, series.stack
    )  # fmt: skip
