"""Windows, units and odd numbers; equality with DCMTK is proven in tests/groundtruth."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from s4s_notebook.errors import DICOMError, MalformedDICOM, NotAnImage
from s4s_notebook.imaging import PRESETS, Frame, Window, read, render
from s4s_notebook.imaging.instance import Instance

from .make import image, save

HU = np.arange(-1000, 1000, dtype=np.int16).reshape(40, 50)


def frame_of(dataset: Dataset) -> Frame:
    return Instance.from_dataset(dataset).frames[0]


def test_a_window_by_name_number_and_numbers() -> None:
    made = image(HU, WindowCenter=[40, 300], WindowWidth=[400, 1500],
                 WindowCenterWidthExplanation=["SOFT", "BONE"])  # fmt: skip
    frame = frame_of(made)
    assert np.array_equal(render(frame), render(frame, (40, 400)))
    assert np.array_equal(render(frame, 1), render(frame, (300, 1500)))
    assert np.array_equal(render(frame, "soft"), render(frame, 0))
    assert np.array_equal(render(frame, "lung"), render(frame, PRESETS["lung"]))
    assert np.array_equal(
        render(frame, (40, 400, "sigmoid")), render(frame, Window(40, 400, "SIGMOID"))
    )
    assert render(frame, "auto").min() == 0
    assert render(frame, "auto").max() == 255
    assert list(read_choices(made))[:2] == ["SOFT", "BONE"]


def read_choices(dataset: Dataset) -> dict:
    from s4s_notebook.imaging.series import arrange

    return arrange([Instance.from_dataset(dataset)])[0].window_choices


def test_lung_shows_lung_and_hides_bone() -> None:
    picture = render(frame_of(image(HU)), "lung").ravel()
    assert picture[HU.ravel() == -600][0] in (127, 128)
    assert picture[HU.ravel() == 400][0] == 255
    assert picture[HU.ravel() == -1000][0] < 64


@pytest.mark.parametrize(
    ("window", "says"),
    [
        ("lungs", "lung"),
        (7, "counted from 0"),
        ((1, 2, 3, 4), "center, width"),
        ((0, 0), "at least 1"),
        ((0, float("nan")), "finite"),
        ((0, 10, "CUBIC"), "SIGMOID"),
        (np.int64(0), "counted from 0"),
        (1.5, "a name"),
        (True, "a name"),
        (("a", "b"), "a name"),
    ],
)
def test_an_unknown_window_lists_the_choices(window, says) -> None:
    with pytest.raises(ValueError, match=says):
        render(frame_of(image(HU)), window)


def test_presets_are_for_hounsfield_units_only() -> None:
    made = dcmread(get_testdata_file("MR_small.dcm"))
    with pytest.raises(ValueError, match="not in HU"):
        render(made, "lung")


def test_modality_values_and_their_unit() -> None:
    frame = frame_of(image(HU, RescaleSlope=2, RescaleIntercept=-1024))
    assert frame.unit == "HU"
    assert frame.values().dtype == np.int32
    assert np.array_equal(frame.values(), HU.astype(int) * 2 - 1024)
    frame = frame_of(image(HU, RescaleSlope=0.5))
    assert frame.values().dtype == np.float64
    assert np.array_equal(frame.values(), HU * 0.5)
    assert frame_of(image(HU, Modality="PT", Units="BQML")).unit == "BQML"
    dose = read(get_testdata_file("rtdose.dcm")).series[0].frames[0]
    assert dose.unit == "Relative"
    assert dose.values().max() == pytest.approx(dose.stored().max() * dose.slope)


def test_float_pixels_are_shown_from_smallest_to_largest() -> None:
    made = image(np.zeros((4, 6), np.uint32))
    del made.PixelData
    values = np.linspace(-3.5, 8.25, 24, dtype=np.float32)
    made.FloatPixelData = values.tobytes()
    made["FloatPixelData"].VR = "OF"
    frame = frame_of(made)
    assert np.array_equal(frame.stored().ravel(), values)
    picture = render(frame).ravel()
    assert (picture[0], picture[-1]) == (0, 255)
    assert np.all(np.diff(picture.astype(int)) > 0)


def test_wide_integers_keep_their_steps() -> None:
    values = np.arange(24, dtype=np.uint32).reshape(4, 6) + 2**31
    frame = frame_of(image(values))
    assert np.array_equal(frame.stored(), values)
    assert len(np.unique(render(frame))) == 24


@pytest.mark.parametrize("sign", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32])
def test_every_depth_and_sign(sign) -> None:
    info = np.iinfo(sign)
    values = np.linspace(info.min, info.max, 24).astype(sign).reshape(4, 6)
    picture = render(frame_of(image(values))).ravel()
    assert (picture[0], picture[-1]) == (0, 255)
    assert np.all(np.diff(picture.astype(int)) > 0)


def test_bits_above_the_stored_ones_are_dropped() -> None:
    dirty = (np.arange(24, dtype=np.uint16) | 0xF000).reshape(4, 6)  # an overlay lives up there
    frame = frame_of(image(dirty, BitsStored=12, HighBit=11))
    assert np.array_equal(frame.stored().ravel(), np.arange(24))


def test_high_bit_moves_the_values_down() -> None:
    shifted = (np.arange(24, dtype=np.uint16) << 4).reshape(4, 6)
    frame = frame_of(image(shifted, BitsStored=12, HighBit=15))
    assert np.array_equal(frame.stored().ravel(), np.arange(24))


def test_slope_and_window_may_differ_from_frame_to_frame() -> None:
    made = image(np.arange(8, dtype=np.uint16).reshape(4, 2), Rows=2, NumberOfFrames=2)
    groups = []
    for slope in (1, 10):
        scale, window, group = Dataset(), Dataset(), Dataset()
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = slope, 0, "HU"
        window.WindowCenter, window.WindowWidth = 5 * slope, 8 * slope
        group.PixelValueTransformationSequence = Sequence([scale])
        group.FrameVOILUTSequence = Sequence([window])
        groups.append(group)
    made.PerFrameFunctionalGroupsSequence = Sequence(groups)
    first, second = Instance.from_dataset(made).frames
    assert (first.slope, second.slope) == (1, 10)
    assert second.values().ravel().tolist() == [40, 50, 60, 70]
    assert second.windows[0] == Window(50, 80)


@pytest.mark.fault("E09")
@pytest.mark.parametrize(
    "elements",
    [
        {"RescaleSlope": "1e308"},
        {"RescaleSlope": "-1e308", "RescaleIntercept": "1e308"},
        {"RescaleSlope": "NaN"},
        {"RescaleSlope": "inf"},
        {"RescaleSlope": "0"},
        {"RescaleSlope": "one"},
        {"WindowCenter": "NaN", "WindowWidth": "100"},
        {"WindowCenter": "40", "WindowWidth": "0"},
        {"WindowCenter": "40", "WindowWidth": "-5"},
        {"WindowCenter": "40", "WindowWidth": "1e400"},
        {"WindowCenter": "1e308", "WindowWidth": "1e308"},
        {"WindowCenter": "40", "WindowWidth": "100", "VOILUTFunction": "CUBIC"},
        {"PixelSpacing": ["0", "0"]},
        {"PixelSpacing": ["NaN", "1"]},
        {"ImagePositionPatient": ["1", "2"]},
        {"ImageOrientationPatient": ["0"] * 6},
        {"PixelPaddingValue": 5},
    ],
)
def test_odd_numbers_render_and_are_told(elements, tmp_path) -> None:
    made = image(HU)
    for keyword, value in elements.items():
        text = "\\".join(value) if isinstance(value, list) else value
        if isinstance(text, str):
            made.add_new(keyword, "LO" if keyword != "VOILUTFunction" else "CS", text)
        else:
            setattr(made, keyword, value)
    study = read_back(made, tmp_path)
    frame = study.series[0].frames[0]
    assert render(frame).shape == HU.shape
    study.plot().savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
    harmless = ("1e308", "-1e308", 5)
    first = next(iter(elements.values()))
    assert study.problems or first in harmless or first == ["0"] * 6


def read_back(dataset: Dataset, folder):
    """Through a file: numbers that pydicom would not write are put in as text of their VR."""
    from .make import data, element

    raw = data(dataset)
    for keyword in ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth",
                    "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"):  # fmt: skip
        if keyword in dataset and dataset[keyword].VR == "LO":
            tag = dataset[keyword].tag
            text = dataset[keyword].value
            text = text if isinstance(text, str) else "\\".join(text)
            value = text.encode().ljust(len(text) + len(text) % 2)
            old = element((tag.group, tag.element), b"LO", value)
            assert old in raw, keyword
            raw = raw.replace(old, element((tag.group, tag.element), b"DS", value))
    path = folder / "odd.dcm"
    path.write_bytes(raw)
    return read(path)


@pytest.mark.fault("E09")
@pytest.mark.parametrize("value", [0, 7, -1000, 32767])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_constant_image_renders(value, photometric, tmp_path) -> None:
    made = image(np.full((8, 8), value, np.int16), PhotometricInterpretation=photometric)
    assert len(np.unique(render(made))) == 1
    study = read_back(made, tmp_path)
    study.plot().savefig(tmp_path / "a.png")


@pytest.mark.fault("E09")
def test_an_image_of_nothing_but_padding_or_nan_renders() -> None:
    assert render(image(np.full((4, 4), -5, np.int16), PixelPaddingValue=-5)).max() == 0
    made = image(np.zeros((4, 6), np.uint32))
    del made.PixelData
    made.FloatPixelData = np.full(24, np.nan, np.float32).tobytes()
    made["FloatPixelData"].VR = "OF"
    assert render(made).shape == (4, 6)


@pytest.mark.fault("E09")
@pytest.mark.parametrize(
    "elements", [{"Rows": 0}, {"Columns": 0}, {"Rows": None}, {"Columns": None}]
)
def test_a_width_of_nothing_is_explained(elements) -> None:
    with pytest.raises(DICOMError) as caught:
        render(image(**elements))
    assert caught.value.hint


def test_a_damaged_palette_is_malformed() -> None:
    made = image(np.zeros((4, 6), np.uint8), PhotometricInterpretation="PALETTE COLOR")
    with pytest.raises(MalformedDICOM, match="palette"):
        render(made)


def test_decoded_frames_are_kept_within_a_limit(tmp_path) -> None:
    from s4s_notebook.imaging.pixels import FrameCache

    made: list[int] = []

    def make() -> np.ndarray:
        made.append(1)
        return np.zeros(100, np.uint8)

    cache, owner = FrameCache(250), image()
    first = cache.get(1, owner, make)
    assert cache.get(1, owner, make) is first
    for key in (2, 3):
        cache.get(key, owner, make)
    cache.get(3, owner, make)
    cache.get(1, owner, make)  # was dropped for 3
    assert len(made) == 4
    assert not first.flags.writeable


def test_a_window_over_fractional_values_is_a_ramp(tmp_path) -> None:
    """A map of fractional anisotropy: LINEAR would show black and white alone."""
    pixels = np.arange(1000, dtype=np.uint16).reshape(20, 50)
    elements = {"RescaleSlope": 0.001, "WindowCenter": 0.5, "WindowWidth": 1, "Modality": "MR"}
    [series] = read(save(image(pixels, **elements), tmp_path / "a.dcm")).series
    assert series.frames[0].windows[0].function == "LINEAR_EXACT"
    grey = render(series.frames[0])
    assert len(np.unique(grey)) > 200
    elements["WindowWidth"] = 0.5
    elements["VOILUTFunction"] = "LINEAR"
    [series] = read(save(image(pixels, **elements), tmp_path / "a.dcm")).series
    assert (series.frames[0].windows[0].width, len(series.problems)) == (0.5, 1)
    whole = image(pixels, WindowCenter=0.5, WindowWidth=1)
    [series] = read(save(whole, tmp_path / "a.dcm")).series
    assert series.frames[0].windows[0].function == "LINEAR"


def test_real_world_values_have_their_unit_and_range(tmp_path) -> None:
    def mapping(unit: str, first: int, last: int, **elements) -> Dataset:
        item, code = Dataset(), Dataset()
        code.CodeValue = unit
        item.MeasurementUnitsCodeSequence = [code]
        item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped = first, last
        for keyword, value in elements.items():
            setattr(item, keyword, value)
        return item

    pixels = np.array([[0, 1200], [4000, 7]], np.uint16)
    made = image(pixels, Modality="MR", RescaleSlope=2, RescaleIntercept=0)
    linear = {"RealWorldValueSlope": 1e-6, "RealWorldValueIntercept": 0}
    adc = mapping("mm2/s", 1, 3000, **linear)
    lut = mapping("ms", 0, 9, RealWorldValueLUTData=[float(v) ** 2 for v in range(10)])
    made.RealWorldValueMappingSequence = [adc, lut]
    [frame] = read(save(made, tmp_path / "a.dcm")).series[0].frames
    values = frame.real_world_values("mm2/s")
    assert values[0, 1] == pytest.approx(0.0012)
    assert np.isnan(values[0, 0])
    assert np.isnan(values[1, 0])
    assert frame.real_world_values("ms")[1, 1] == 49
    assert frame.values()[0, 1] == 2400  # as before
    with pytest.raises(NotAnImage, match='"mm2/s", "ms"'):
        frame.real_world_values()


def test_a_volume_in_the_quantity_that_its_slices_are_mapped_to(tmp_path) -> None:
    for z in range(3):
        item, unit = Dataset(), Dataset()
        unit.CodeValue = "mm2/s"
        item.MeasurementUnitsCodeSequence, item.LUTLabel = [unit], "ADC"
        item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped = 0, 20
        item.RealWorldValueSlope, item.RealWorldValueIntercept = 1e-6, 0
        made = image(Modality="MR", ImagePositionPatient=[0, 0, z], RescaleSlope=2)
        made.RealWorldValueMappingSequence = [item]
        save(made, tmp_path / f"{z}.dcm")
    volume = read(tmp_path).series[0].volume()
    mapped = volume.real_world()
    assert (mapped.unit, mapped.dtype) == ("mm2/s", np.float64)
    assert np.asarray(mapped)[1, 0, :3].tolist() == pytest.approx([0, 1e-6, 2e-6])
    assert np.isnan(np.asarray(mapped)[0, 3, 3:]).all()  # stored values above 20
    assert volume[1, 0, :3].tolist() == [0, 2, 4]
    with pytest.raises(NotAnImage, match="mm2/s"):
        volume.real_world("s")
    with pytest.raises(NotAnImage, match="resampled"):
        volume.resample(spacing=1.0).real_world()


@pytest.mark.parametrize(
    ("elements", "unit"),
    [
        ({"Modality": "CT"}, "HU"),
        ({"Modality": "CT", "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, ""),
        ({"Modality": "CT", "RescaleType": "Z_EFF"}, "Z_EFF"),
        ({"Modality": "CT", "RescaleType": "MGML"}, "mg/ml"),
        ({"Modality": "CR", "RescaleType": "OD"}, "10^-3 OD"),  # 2140 is a density of 2.140
        ({"Modality": "MR", "RescaleType": "US"}, ""),
        ({"Modality": "PT", "Units": "BQML"}, "BQML"),
    ],
)
def test_the_unit_of_modality_values(elements, unit, tmp_path) -> None:
    path = save(image(**elements), tmp_path / "a.dcm")
    assert read(path).series[0].frames[0].unit == unit
