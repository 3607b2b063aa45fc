"""What downloaded files say of the series of a participant, read from the first file of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import DICOMError
from ..imaging.facts import Reader
from ..imaging.files import parse, read_header
from ..problems import Problem
from ..store import Participant, Store


def dicom_series(store: Store, who: Participant, told: list[Problem]) -> Iterator[dict[str, Any]]:
    """One mapping a series on disk, with the columns of the series table that files can fill.

    Files are from elsewhere: they are read within the bounds of :mod:`s4s_notebook.imaging.files`,
    and what cannot be read of them is ``told``.
    """
    for uid in who.study_uids():
        folder = store.study(who, uid)
        count: dict[str, int] = {}
        first: dict[str, Path] = {}
        for filed in folder.instances().values():
            count[filed.series_uid] = count.get(filed.series_uid, 0) + 1
            first.setdefault(filed.series_uid, folder.file(filed))
        for series_uid, path in first.items():
            yield {
                "study_uid": uid,
                "series_uid": series_uid,
                "patient_id": who.patient,
                "instance_count": count[series_uid],
                **_described(path, series_uid, told),
            }


def _described(path: Path, series_uid: str, told: list[Problem]) -> dict[str, Any]:
    """What the header says; nothing where it cannot be read."""
    resource = f"DICOM series {series_uid}"
    try:
        header = read_header(path)
    except DICOMError as error:
        told.append(Problem(resource, "", "", error.problem))
        return {}
    except OSError as error:  # purged or lost meanwhile: verify() names it
        told.append(Problem(resource, "", "", f"{path.name}: {error.strerror}"))
        return {}
    reader = Reader(header.dataset, resource)
    found, _ = parse(lambda: _values(reader))
    told.extend(reader.problems)
    return found


def _values(reader: Reader) -> dict[str, Any]:
    number = reader.number("SeriesNumber")
    return {
        "modality": reader.text("Modality") or None,
        "number": None if number is None else int(number),
        "description": reader.text("SeriesDescription") or None,
        "body_site": reader.text("BodyPartExamined") or None,
    }
