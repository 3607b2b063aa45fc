"""What others make of a frame: DCMTK, highdicom, and PS3.3's formulas written out again."""

from __future__ import annotations

import subprocess
import tempfile
import warnings
from functools import cache
from pathlib import Path

import highdicom
import numpy as np
import SimpleITK
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from s4s_notebook.imaging import Frame, Window

Picture = np.ndarray


@cache
def dcmtk(path: Path, frame: int, *window: str) -> Picture | None:
    """DCMTK's picture, None where it cannot read the file."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.pnm"
        for program in ("dcmj2pnm", "dcml2pnm"):
            command = [program, "-O", "+F", str(frame + 1), *window, str(path), str(out)]
            done = subprocess.run(command, capture_output=True, check=False)
            if done.returncode == 0 and out.exists():
                return np.array(Image.open(out))
    return None


def dcmtk_default(path: Path, frame: Frame) -> Picture | None:
    """DCMTK told to use what a viewer shows: the first window, the VOI LUT or min to max."""
    if frame.color:
        return dcmtk(path, frame.index)
    if not frame.windows:
        return dcmtk(path, frame.index, "+Wm")
    if isinstance(frame.windows[0], Window):
        return dcmtk(path, frame.index, "+Wi", "1")
    return dcmtk(path, frame.index, "+Wl", "1")


def dcmtk_window(
    path: Path, frame: Frame, center: float, width: float, at: int | None = None
) -> Picture | None:
    """DCMTK told to use this window; ``at``: the frame's number in ``path``, if another."""
    index = frame.index if at is None else at
    return dcmtk(path, index, "+Ww", repr(float(center)), repr(float(width)))


def decompressed(path: Path, folder: Path) -> Path:
    """A copy that DCMTK can read, decompressed by pydicom."""
    copy = folder / f"{path.stem}.raw.dcm"
    if not copy.exists():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(path)
            dataset.PixelData = dataset.pixel_array.tobytes()
            for element in list(dataset):
                if "or" in element.VR:  # padding, smallest and largest value: not drawn
                    del dataset[element.tag]
            dataset["PixelData"].VR = "OW"
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            if dataset.SamplesPerPixel == 3:
                dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
            dataset.save_as(copy)
    return copy


def plain(frame: Frame, folder: Path) -> Path:
    """The frame as a CT slice that DCMTK reads: its stored values, what is said of them in
    functional groups written at the top, values of 32 bits cut to what 16 bits hold."""
    path = folder / f"{frame.instance.sop_uid}.{frame.index}.plain.dcm"
    dataset = dcmread(get_testdata_file("CT_small.dcm"))
    for element in list(dataset):
        if "or" in element.VR:  # padding, smallest and largest value: not drawn
            del dataset[element.tag]
    kind = np.dtype("<i2" if frame.instance.signed else "<u2")
    limits = np.iinfo(kind)
    dataset.PixelData = frame.stored().clip(limits.min, limits.max).astype(kind).tobytes()
    dataset.Rows, dataset.Columns = frame.rows, frame.columns
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(frame.instance.signed)
    dataset.PhotometricInterpretation = frame.photometric
    dataset.RescaleSlope, dataset.RescaleIntercept = frame.slope, frame.intercept
    dataset.save_as(path)
    return path


def highdicom_window(path: Path, frame: Frame, window: tuple[float, float] | None) -> Picture:
    """highdicom's picture, floored; with ``window`` in place of the file's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = dcmread(path, force=True)
        dataset.setdefault("SOPClassUID", SecondaryCaptureImageStorage)
        if window is not None:
            for keyword in ("VOILUTSequence", "VOILUTFunction", "WindowCenterWidthExplanation"):
                if keyword in dataset:
                    delattr(dataset, keyword)
            dataset.WindowCenter, dataset.WindowWidth = window
        image = highdicom.Image.from_dataset(dataset, copy=True)
        if window is None and not frame.windows and not frame.color:
            plain = {"apply_voi_transform": False, "apply_real_world_transform": False}
            values = image.get_frame(frame.index + 1, **plain)
            low, high = float(values.min()), float(values.max())
            return highdicom_window(path, frame, ((low + high + 1) / 2, high - low + 1))
        array = image.get_frame(
            frame.index + 1,
            apply_voi_transform=None if frame.color else True,
            voi_output_range=(0, 255),
            apply_real_world_transform=False,
        )
    return np.floor(array).astype(np.uint8)


def gdcm_palette(path: Path) -> Picture:
    """GDCM's picture of a palette image of one frame, by its highest 8 bits."""
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    array = SimpleITK.GetArrayFromImage(reader.Execute())[0]
    return (array >> (8 * (array.itemsize - 1))).astype(np.uint8)


def formula(frame: Frame, center: float, width: float, function: str = "LINEAR") -> Picture:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3 as printed, truncated.

    The linear ones in whole numbers, so exactly, where all numbers are multiples of 1/4;
    else in extended precision.
    """
    values = frame.stored() * np.float64(frame.slope) + np.float64(frame.intercept)
    x, c, w = (np.asarray(one, np.longdouble) for one in (values, center, width))
    if function == "LINEAR":
        c, w = c - 0.5, w - 1
    turned = frame.photometric == "MONOCHROME1"
    black, white = (255, 0) if turned else (0, 255)
    if function == "SIGMOID":
        level = 255 / (1 + np.exp(-4 * (x - c) / w))
        return np.floor(255 - level if turned else level).astype(np.uint8)
    top, bottom = 255 * (2 * (x - c) + w), 2 * w  # level = top / bottom
    if turned:
        top = 255 * bottom - top
    if w == 0:
        level = np.zeros(x.shape)
    elif all(np.all(4 * one == np.floor(4 * one)) for one in (x, c, w)):
        level = (4 * top).astype(np.int64) // int(4 * bottom)
    else:
        level = np.floor(top / bottom)
    level = np.where(x <= c - w / 2, black, np.where(x > c + w / 2, white, level))
    return level.astype(np.uint8)


def ybr_formula(path: Path, frame: Frame) -> Picture:
    """PS3.3 C.7.6.3.1.2 for uncompressed YBR_FULL and YBR_FULL_422, one frame, rounded."""
    raw = np.frombuffer(dcmread(path).PixelData, np.uint8)
    rows, columns = frame.rows, frame.columns
    if frame.photometric == "YBR_FULL_422":
        pairs = raw[: rows * columns * 2].reshape(rows, columns // 2, 4).astype(float)
        y = pairs[..., :2].reshape(rows, columns)
        cb, cr = (np.repeat(pairs[..., at], 2, axis=1) for at in (2, 3))
    else:
        planes = raw[: rows * columns * 3].reshape(rows, columns, 3).astype(float)
        if frame.instance.planar:
            planes = raw.reshape(3, rows, columns).transpose(1, 2, 0).astype(float)
        y, cb, cr = (planes[..., at] for at in range(3))
    red = y + 1.402 * (cr - 128)
    green = y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128)
    blue = y + 1.772 * (cb - 128)
    return np.stack([red, green, blue], axis=-1).round().clip(0, 255).astype(np.uint8)
