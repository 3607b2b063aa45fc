"""Standardised uptake values, against examples worked by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import PositronEmissionTomographyImageStorage

from s4s_notebook.errors import UncertainSUV
from s4s_notebook.imaging import Rectangle, read

from .make import image, save

HALF = 6586.2  # s, of F-18
#: 70 kg, 350 MBq at 11:00, scan at 12:00: 350e6 · 2^(-3600/6586.2) = 239.62e6 Bq; 70000 g of that.
BY_HAND = 2.9213e-4


def pet(at: int = 0, agent: dict[str, Any] | None = None, **elements: Any) -> Dataset:
    """A PET slice of 1,000 Bq/ml (500 stored, slope 2); ``agent`` changes the injection."""
    injected = {
        "RadionuclideTotalDose": 350e6,
        "RadionuclideHalfLife": HALF,
        "RadiopharmaceuticalStartTime": "110000.00",
        **(agent or {}),
    }
    item = Dataset()
    for keyword, value in injected.items():
        if value is not None:
            setattr(item, keyword, value)
    stated = {
        "SOPClassUID": PositronEmissionTomographyImageStorage, "Modality": "PT",
        "RescaleSlope": 2, "RescaleIntercept": 0, "Units": "BQML", "DecayCorrection": "START",
        "CorrectedImage": ["DECY", "ATTN", "SCAT"], "PatientWeight": 70, "PatientSize": 1.75,
        "PatientSex": "F", "SeriesDate": "20240110", "SeriesTime": "120000",
        "AcquisitionDate": "20240110", "AcquisitionTime": f"12{3 * at:02}00",
        "ActualFrameDuration": 150000, "ImagePositionPatient": [0, 0, 3 * at],
        "RadiopharmaceuticalInformationSequence": [item],
    }  # fmt: skip
    stated = {k: v for k, v in {**stated, **elements}.items() if v is not None}
    return image(np.full((4, 6), 500, np.int16), **stated)


def private(made: Dataset, group: int, creator: str, **values: tuple[int, str, Any]) -> Dataset:
    block = made.private_block(group, creator, create=True)
    for offset, vr, value in values.values():
        block.add_new(offset, vr, value)
    return made


def series_of(folder: Path, *slices: Dataset) -> Any:
    for at, made in enumerate(slices):
        save(made, folder / f"{at}.dcm")
    [series] = read(folder).series
    return series


def test_siemens_corrects_to_the_start_of_the_series(tmp_path) -> None:
    series = series_of(tmp_path, *(pet(at) for at in range(3)))
    volume = series.suv()
    assert volume.factors == (pytest.approx(BY_HAND, rel=1e-4),) * 3
    assert np.allclose(volume, 1000 * BY_HAND, rtol=1e-4)  # also of the later slices
    assert (volume.unit, volume.dtype) == ("g/ml{SUVbw}", np.float32)
    assert volume.notes == ("dose decayed by 3,600 s, from the injection to the SeriesTime",)
    assert np.array_equal(series.volume(), np.full((3, 4, 6), 1000))


def test_ge_and_siemens_may_state_the_start_in_an_element_of_their_own(tmp_path) -> None:
    """A later SeriesTime is that of a reconstruction."""
    late = [pet(at, SeriesTime="150000") for at in range(2)]
    for made in late:
        private(made, 0x0009, "GEMS_PETD_01", scan=(0x0D, "DT", "20240110120000.00"))
    assert series_of(tmp_path, *late).suv().factors[0] == pytest.approx(BY_HAND, rel=1e-4)
    (tmp_path / "siemens").mkdir()
    late = [pet(at, SeriesTime="150000") for at in range(2)]
    for made in late:
        private(made, 0x0071, "SIEMENS MED PT", scan=(0x22, "DT", "20240110120000.00"))
    volume = series_of(tmp_path / "siemens", *late).suv()
    assert volume.factors[0] == pytest.approx(BY_HAND, rel=1e-4)
    assert "(0071,1022)" in volume.notes[0]


def test_ge_may_correct_to_the_injection(tmp_path) -> None:
    """A second correction would raise the value by 46 %."""
    [factor] = series_of(tmp_path, pet(DecayCorrection="ADMIN")).suv().factors
    assert factor == pytest.approx(70000 / 350e6)


def test_philips_has_factors_beside_its_counts(tmp_path) -> None:
    def counts(folder: str, **values: Any) -> Any:
        made = private(pet(Units="CNTS"), 0x7053, "Philips PET Private Group", **values)
        (tmp_path / folder).mkdir()
        return series_of(tmp_path / folder, made)

    to_suv, to_activity = (0x00, "DS", "0.000551"), (0x09, "DS", "1.886")
    both = counts("both", suv=to_suv, activity=to_activity).suv()
    assert both.factors == (pytest.approx(0.000551),)  # 1,000 counts: 0.551 g/ml
    assert both.notes == ("SUV by Philips' own factor (7053,1000)",)
    other = counts("other", suv=to_suv, activity=(0x09, "DS", "3.772")).suv()
    assert any("2" in note and "(7053,1009)" in note for note in other.notes)
    second = counts("second", suv=(0x00, "DS", "0"), activity=to_activity).suv()
    assert second.factors == (pytest.approx(1.886 * BY_HAND, rel=1e-4),)
    lean = counts("lean", suv=to_suv).suv("lbm")
    assert lean.factors == (pytest.approx(0.000551 * 51.22 / 70, rel=1e-4),)
    with pytest.raises(UncertainSUV, match="counts"):
        counts("neither").suv()


def test_without_a_usable_series_time_the_frames_say_when_it_began(tmp_path) -> None:
    # F-18 in 150 s: mean activity after 74.90 s; so frames of 0 and 180 s have these times.
    rate = np.log(2) / HALF
    middle = np.log(rate * 150 / (1 - np.exp(-rate * 150))) / rate
    assert middle == pytest.approx(74.90, abs=0.01)
    slices = [
        pet(at, SeriesTime="150000", FrameReferenceTime=1000 * (180 * at + middle))
        for at in range(3)
    ]
    volume = series_of(tmp_path, *slices).suv()
    assert volume.factors[0] == pytest.approx(BY_HAND, rel=1e-4)
    assert "FrameReferenceTime" in volume.notes[0]


def test_times_that_disagree_are_both_told(tmp_path) -> None:
    slices = [pet(at, FrameReferenceTime=1000 * (180 * at + 674.9)) for at in range(3)]
    volume = series_of(tmp_path, *slices).suv()
    assert volume.factors[0] == pytest.approx(BY_HAND, rel=1e-4)
    assert "by FrameReferenceTime the scan began -600 s from then" in volume.notes[1]


def test_values_that_are_not_corrected_are_corrected_by_their_own_time(tmp_path) -> None:
    none = {"DecayCorrection": "NONE", "CorrectedImage": ["ATTN"]}
    volume = series_of(tmp_path, *(pet(at, **none) for at in range(2))).suv()
    expected = [2e-4 * 2 ** ((3600 + 180 * at + 74.90) / HALF) for at in range(2)]
    assert volume.factors == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("sex", "norm", "size"),
    [
        ("M", "lbm", 57.8), ("M", "lbmjames128", 56.52), ("M", "lbmjanma", 55.9),
        ("F", "lbm", 51.22), ("F", "lbmjanma", 45.2),
        ("F", "bw", 70), ("M", "bsa", 18.48), ("F", "bsa", 18.48),
    ],
)  # fmt: skip
def test_lean_mass_and_surface_of_70_kg_and_175_cm(sex, norm, size, tmp_path) -> None:
    volume = series_of(tmp_path, pet(PatientSex=sex, DecayCorrection="ADMIN")).suv(norm)
    assert volume.factors[0] * 350e6 / 1000 == pytest.approx(size, rel=2e-3)
    assert volume.unit.startswith("cm2/ml" if norm == "bsa" else "g/ml")


def test_values_that_are_suv_already(tmp_path) -> None:
    series = series_of(tmp_path, pet(Units="GML"))
    assert series.suv().factors == (1.0,)
    assert series.suv("lbm").factors == (pytest.approx(51.22 / 70, rel=1e-4),)


def test_an_injection_before_midnight_is_of_the_day_before(tmp_path) -> None:
    made = pet(
        agent={"RadiopharmaceuticalStartTime": "234000"}, SeriesTime="004000",
        AcquisitionTime="004000",
    )  # fmt: skip
    volume = series_of(tmp_path, made).suv()
    assert volume.factors[0] == pytest.approx(BY_HAND, rel=1e-4)
    assert any("day before" in note for note in volume.notes)
    stated = pet(agent={"RadiopharmaceuticalStartDateTime": "20240110110000.000000-0500"})
    (tmp_path / "stated").mkdir()
    assert series_of(tmp_path / "stated", stated).suv().factors[0] == pytest.approx(
        BY_HAND, rel=1e-4
    )


@pytest.mark.parametrize(
    ("elements", "agent", "named"),
    [
        ({"PatientWeight": None}, {}, "PatientWeight"),
        ({"PatientWeight": 0}, {}, "PatientWeight"),
        ({"PatientWeight": 70000}, {}, "PatientWeight"),
        ({"DecayCorrection": None}, {}, "DecayCorrection"),
        ({"CorrectedImage": ["DECY"]}, {}, "ATTN"),
        ({"CorrectedImage": "ATTN"}, {}, "DECY"),
        ({"CorrectedImage": None}, {}, "CorrectedImage"),
        ({"Units": "CNTS"}, {}, "Units"),
        ({"Units": "PROPCPS"}, {}, "PROPCPS"),
        ({"Units": None}, {}, "Units"),
        ({"Modality": "CT"}, {}, "Modality"),
        ({"RadiopharmaceuticalInformationSequence": None}, {}, "0 items"),
        ({"SeriesTime": None, "AcquisitionTime": None}, {}, "AcquisitionTime"),
        ({"SeriesDate": None, "AcquisitionDate": None}, {}, "Time"),
        ({"DecayCorrection": "NONE", "ActualFrameDuration": None}, {}, "ActualFrameDuration"),
        ({}, {"RadionuclideTotalDose": None}, "RadionuclideTotalDose"),
        ({}, {"RadionuclideTotalDose": 350}, "MBq"),
        ({}, {"RadionuclideHalfLife": None}, "RadionuclideHalfLife"),
        ({}, {"RadiopharmaceuticalStartTime": None}, "RadiopharmaceuticalStartTime"),
        ({}, {"RadiopharmaceuticalStartDateTime": "20240109110000"}, "10 half-lives"),
        ({}, {"RadiopharmaceuticalStartDateTime": "20240110130000"}, "after the scan"),
    ],
)
def test_what_is_missing_is_named_and_no_value_is_given(elements, agent, named, tmp_path) -> None:
    series = series_of(tmp_path, pet(agent=agent, **elements))
    with pytest.raises(UncertainSUV, match=named):
        series.suv()


@pytest.mark.parametrize(
    ("elements", "norm", "named"),
    [
        ({"PatientSex": "O"}, "lbm", "PatientSex"),
        ({"PatientSize": None}, "bsa", "PatientSize"),
        ({"PatientSize": 0.1, "PatientWeight": 90}, "lbm", "lean mass"),
    ],
)
def test_norms_need_height_and_sex(elements, norm, named, tmp_path) -> None:
    series = series_of(tmp_path, pet(**elements))
    with pytest.raises(UncertainSUV, match=named):
        series.suv(norm)
    assert series.suv().factors[0] > 0


def test_a_series_in_two_units_has_no_suv(tmp_path) -> None:
    series = series_of(tmp_path, pet(0), pet(1, Units="CNTS"))
    with pytest.raises(UncertainSUV, match="Units: it differs"):
        series.suv(split_by=None, index=0)


def test_an_unknown_norm_lists_the_choices(tmp_path) -> None:
    with pytest.raises(ValueError, match="lbmjanma"):
        series_of(tmp_path, pet()).suv("ibw")


def test_an_uptake_is_measured_in_its_own_unit(tmp_path) -> None:
    series = series_of(tmp_path, *(pet(at) for at in range(3)))
    mask = np.zeros((3, 4, 6), bool)
    mask[1, 1:3, 1:3] = True
    for region, frame in ((mask, None), (Rectangle((1, 1), (3, 3)), 1)):
        [row] = series.measure(region, frame, volume=series.suv()).to_dict("records")
        assert (row["n"], row["unit"]) == (4, "g/ml{SUVbw}")
        assert row["mean"] == pytest.approx(1000 * BY_HAND, rel=1e-4)
