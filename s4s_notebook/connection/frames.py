"""Frames of one participant: cached, with their provenance in ``attrs``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DICOMError
from ..fhir.resources import RESOURCE_TYPES
from ..fhir.search import instant, search_url
from ..problems import Problem
from ..store.overview import TABLES
from ..store.participant import Participant
from ..store.store import Store
from .loading import query

if TYPE_CHECKING:
    import pandas as pd


class Frames:
    """The tables of one connection; each is built once for as long as its data do not change."""

    def __init__(self) -> None:
        self._cache: dict[Any, tuple[Any, pd.DataFrame, list[Problem]]] = {}

    def table(
        self, store: Store, participant: Participant, name: str, kind: str, *, complete: bool = True
    ) -> pd.DataFrame:
        """Return a table of the stored resources of a type.

        Args:
            store: where the participant's files are.
            participant: whose table.
            name: of the table, as in ``s4s.tables.dictionary``.
            kind: the resource type that it is built from.
            complete: False where a search was cut off; recorded in ``attrs``.
        """
        frame, _ = self._build(participant, name, kind)
        frame = frame.copy()  # shares memory until it is written to
        if name == "series":
            from .. import tables

            attrs = frame.attrs
            frame = tables.complete_series(frame, dicom_series(store, participant, []))
            frame.attrs = attrs
        point, run = participant.sync_point(kind), participant.run(kind)
        pages = point.pages if point else run.pages if run else 0
        frame.attrs |= {
            "holder": participant.holder,
            "query": search_url("", kind, query(kind, participant.patient)).lstrip("/"),
            "retrieved": instant(point.retrieved) if point else None,
            "pages": pages,
            "complete": complete and participant.is_complete(kind),
        }
        return frame

    def problems(self, store: Store, participant: Participant) -> pd.DataFrame:
        """Return the problems of pages, tables and files, each once."""
        import pandas as pd

        problems = participant.problems()
        for kind, names in TABLES.items():
            if participant.sync_point(kind) is not None:
                for name in names:
                    problems += self._build(participant, name, kind)[1]
        for _ in dicom_series(store, participant, problems):
            pass  # only the problems are needed
        return pd.DataFrame(
            list(dict.fromkeys(problems)), columns=list(Problem._fields), dtype="str"
        )

    def _build(
        self, participant: Participant, name: str, kind: str
    ) -> tuple[pd.DataFrame, list[Problem]]:
        from .. import tables

        key = participant.id, name
        others = tables.BESIDE.get(name, ())
        beside_count = sum(len(participant.versions(other)) for other in others)
        version = participant.sync_point(kind), participant.run(kind), beside_count
        cached = self._cache.get(key)
        if cached is None or cached[0] != version:
            problems: list[Problem] = []
            beside = (participant.resources(other) for other in others)
            resources = chain(*beside, participant.resources(kind))
            frame = tables.build((name,), resources, problems, report_unread=True)[name]
            cached = self._cache[key] = (version, frame, problems)
        return cached[1], cached[2]


def changes(participant: Participant, runs: Mapping[str, str]) -> pd.DataFrame:
    """Return what each run changed, one row per resource; ``attrs`` count what did not change."""
    import pandas as pd

    rows = [
        (kind, key, change)
        for kind in RESOURCE_TYPES
        if kind in runs
        for key, change in participant.changes(kind, runs[kind])
    ]
    changed = [row for row in rows if row[2] != "unchanged"]
    frame = pd.DataFrame(changed, columns=["resource_type", "key", "change"], dtype="str")
    frame.attrs["unchanged"] = len(rows) - len(changed)
    return frame


def dicom_series(
    store: Store, participant: Participant, problems: list[Problem]
) -> Iterator[dict[str, Any]]:
    """Yield what the files say of each series on disk, from the first file of each.

    Each mapping has the columns of the series table that files can fill. Files are untrusted:
    they are read within the limits of :mod:`s4s_notebook.imaging.reader`.

    Args:
        store: where the files are.
        participant: whose files.
        problems: what cannot be read is appended here.
    """
    for uid in participant.study_uids():
        folder = store.study(participant, uid)
        count: dict[str, int] = {}
        first: dict[str, Path] = {}
        for instance in folder.instances().values():
            count[instance.series_uid] = count.get(instance.series_uid, 0) + 1
            first.setdefault(instance.series_uid, folder.file(instance))
        for series_uid, path in first.items():
            yield {
                "study_uid": uid,
                "series_uid": series_uid,
                "patient_id": participant.patient,
                "instance_count": count[series_uid],
                **_read_series(path, series_uid, problems),
            }


def _read_series(path: Path, series_uid: str, problems: list[Problem]) -> dict[str, Any]:
    """Return what a header says of its series; nothing where it cannot be read."""
    # Loads pydicom, which tables without downloaded files do not need.
    from ..imaging.attributes import AttributeReader
    from ..imaging.reader import parse, read_header

    resource = f"DICOM series {series_uid}"
    try:
        header = read_header(path)
    except DICOMError as error:
        problems.append(Problem(resource, "", "", error.problem))
        return {}
    except OSError as error:  # purged or lost meanwhile: verify() names it
        problems.append(Problem(resource, "", "", f"{path.name}: {error.strerror}"))
        return {}
    reader = AttributeReader(header.dataset, resource)
    values, _ = parse(lambda: _series_values(reader))
    problems.extend(reader.problems)
    return values


def _series_values(reader: Any) -> dict[str, Any]:
    number = reader.number("SeriesNumber")
    return {
        "modality": reader.text("Modality") or None,
        "number": None if number is None else int(number),
        "description": reader.text("SeriesDescription") or None,
        "body_site": reader.text("BodyPartExamined") or None,
    }
