"""The studies that the sandbox draws are of a readable size, and their truths hold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pydicom
import pytest

import s4s_notebook as s4s
from s4s_notebook.sandbox.data.archive import SampleArchive
from s4s_notebook.sandbox.data.catalogue import PHANTOM_STUDIES
from s4s_notebook.sandbox.data.people import PEOPLE

MARGIN = np.array((2, 6, 6))
LARGE_FILMS = {"CR", "DX", "MG"}
STUDIES = {entry.exam.key: entry for entry in PHANTOM_STUDIES}


@pytest.fixture(scope="module")
def archive() -> Iterator[SampleArchive]:
    archive = SampleArchive(person.id for person in PEOPLE)
    yield archive
    archive.close()


def study_of(archive: SampleArchive, key: str) -> s4s.Study:
    prepared = archive.prepare(STUDIES[key].exam.study_uid)
    return s4s.read([instance.path for _, instance in prepared.instances()])


def truth_of(key: str, name: str) -> float:
    return next(value for word, value, _ in STUDIES[key].truth if word == name)


def test_five_people_and_plausible_ages() -> None:
    assert len(PEOPLE) == 5
    for entry in PHANTOM_STUDIES:
        age = int(entry.exam.date[:4]) - int(entry.exam.person.birth_date[:4])
        assert 40 <= age <= 85


@pytest.mark.parametrize("key", ["chest-film", "mammogram", "mammogram-2016", "first-film"])
def test_films_have_1024_pixels_or_more(archive: SampleArchive, key: str) -> None:
    prepared = archive.prepare(STUDIES[key].exam.study_uid)
    for _, instance in prepared.instances():
        assert max(pydicom.dcmread(instance.path).pixel_array.shape) >= 1024


@pytest.mark.slow
@pytest.mark.parametrize("key", STUDIES)
def test_each_study_writes_what_it_lists_in_a_readable_size(
    archive: SampleArchive, key: str
) -> None:
    listed = STUDIES[key]
    prepared = archive.prepare(listed.exam.study_uid)
    for series, entry in zip(prepared.series, listed.series, strict=True):
        headers = [pydicom.dcmread(i.path, stop_before_pixels=True) for i in series.instances]
        assert {h.SeriesInstanceUID for h in headers} == {series.uid}
        assert {h.Modality for h in headers} == {entry.modality}
        assert {h.SOPClassUID for h in headers} == {entry.sop_class}
        assert {h.PatientID for h in headers} == {listed.exam.person.mrn}
        size = (headers[0].get("Rows", 0), headers[0].get("Columns", 0))
        if entry.modality in LARGE_FILMS:
            assert max(size) >= 1024
        if entry.modality in ("CT", "MR"):
            assert min(size) >= 256
            assert len(headers) >= 40


@pytest.fixture(scope="module")
def follow_up(archive: SampleArchive) -> s4s.Study:
    return study_of(archive, "follow-up-ct")


def test_segment_contours_and_grey_values_give_the_nodules_volume(follow_up: s4s.Study) -> None:
    ct, volume = follow_up.series[0], truth_of("follow-up-ct", "nodule volume")
    segment, contours = ct.masks
    table = ct.measure([segment, contours])
    assert table.volume_unit.tolist() == ["mm3", "mm3"]
    assert table.volume.tolist() == pytest.approx([volume, volume], rel=0.05)
    assert (table["mean"] > -250).all()
    # Half way between lung and nodule, within 12 mm of its middle.
    values = np.asarray(ct.volume())
    near = np.zeros(values.shape, dtype=bool)
    places = np.argwhere(np.asarray(segment))
    low, high = places.min(axis=0) - MARGIN, places.max(axis=0) + MARGIN + 1
    near[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = True
    assert ct.measure(near & (values > -415)).volume[0] == pytest.approx(volume, rel=0.05)


def test_the_report_says_the_truth(follow_up: s4s.Study) -> None:
    report = follow_up.report()
    values = dict(zip(report.measurements.name, report.measurements.value, strict=True))
    assert values["Volume"] == pytest.approx(truth_of("follow-up-ct", "nodule volume"), rel=0.001)
    assert values["Diameter"] == truth_of("follow-up-ct", "nodule diameter")
    growth = truth_of("follow-up-ct", "nodule volume") / truth_of("first-ct", "nodule volume") - 1
    assert f"grew by {100 * growth:.0f} %" in report.text


@pytest.fixture(scope="module")
def pet_ct(archive: SampleArchive) -> s4s.Study:
    return study_of(archive, "pet-ct")


def test_uptake_is_that_of_the_truth(pet_ct: s4s.Study) -> None:
    pet = next(series for series in pet_ct.series if series.modality == "PT")
    suv = np.asarray(pet.suv())
    grid = pet.volume()
    z, y, x = np.indices(suv.shape).astype(float)
    x, y, z = (grid.affine[:3, :3] @ [x.ravel(), y.ravel(), z.ravel()]) + grid.affine[:3, 3:]
    places = np.stack([x, y, z])
    # The middle of the nodule, 2 mm; of the liver, 15 mm. The lowest slice has z = 0.
    for name, centre, radius in (
        ("nodule SUV", (-84.0, -18.0, 297.0 - 111.0), 4.0),
        ("liver SUV", (-66.0, -6.0, 15.0), 15.0),
    ):
        inside = np.linalg.norm(places - np.array(centre)[:, None], axis=0) < radius
        mean = suv.ravel()[inside].mean()
        assert mean == pytest.approx(truth_of("pet-ct", name), rel=0.02), name


def test_the_lesion_of_the_head_has_its_volume(archive: SampleArchive) -> None:
    study = study_of(archive, "head-mr")
    assert [series.description for series in study.series] == [
        "Axial T1",
        "Axial T2",
        "Axial FLAIR",
    ]
    flair = study.series[2]
    values = np.asarray(flair.volume()).astype(float)
    near = np.zeros(values.shape, dtype=bool)
    middle = np.round(np.linalg.inv(flair.volume().affine) @ [30, -26, 42, 1])[:3].astype(int)
    column, row, index = middle
    near[index - 4 : index + 5, row - 13 : row + 14, column - 13 : column + 14] = True
    lesion = near & (values > 650)
    volume = truth_of("head-mr", "lesion volume")
    assert flair.measure(lesion).volume[0] == pytest.approx(volume, rel=0.05)


def test_the_perfusion_has_twenty_phases_and_a_late_territory(archive: SampleArchive) -> None:
    series = study_of(archive, "perfusion").series[0]
    stack = np.asarray(series.stack4d())
    assert stack.shape == (20, 8, 256, 256)
    # Left and right middle territory: 25 to 45 mm from the middle, around the level of the insula.
    curve = stack[:, :, 110:146, :].astype(float)
    right, left = curve[..., 75:99].mean(axis=(1, 2, 3)), curve[..., 157:181].mean(axis=(1, 2, 3))
    delay = 2.0 * (peak_of(left) - peak_of(right))
    truth = truth_of("perfusion", "delay of the left middle territory")
    assert delay == pytest.approx(truth, abs=1.0)


def peak_of(curve: np.ndarray) -> float:
    """The phase of a curve's maximum, by a parabola through its three highest values."""
    top = int(curve.argmax())
    before, middle, after = curve[top - 1 : top + 2]
    return float(top + (before - after) / (2 * (before - 2 * middle + after)))


def test_the_cine_beats_and_is_measured_in_millimetres(archive: SampleArchive) -> None:
    series = study_of(archive, "echo").series[0]
    assert len(series.frames) == 30
    frame = series.frames[0]
    first, systole = (np.asarray(f.values(), float) for f in (frame, series.frames[11]))
    assert np.abs(first - systole).mean() > 2
    # The cavity along its axis, 14 mm left of the middle of the probe's picture.
    column = round(400 + 14 / 0.28)
    dark = np.flatnonzero(first[:, column - 2 : column + 3].mean(axis=1) < 20)
    inside = dark[(dark > 120) & (dark < 440)]
    length = frame.length((column, int(inside.min())), (column, int(inside.max()))).value
    assert length == pytest.approx(truth_of("echo", "left ventricle length"), rel=0.06)


def test_the_sandbox_tells_its_truths() -> None:
    with s4s.Sandbox() as sandbox:
        truth = sandbox.truth
    uid = STUDIES["first-ct"].exam.study_uid
    assert truth.image("nodule diameter", uid) == 12
    with pytest.raises(KeyError):
        truth.image("nodule colour", uid)
    assert {t.patient_id for t in truth.images} == {"smart-1469713"}
