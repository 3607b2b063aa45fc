"""What of a study is to be asked for, and how: whole, by series, or one instance at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from ..dicomweb.wado import Instance, instance_url
from ..errors import InvalidUID
from ..fhir.resources import check_uid, objects


class Announced(NamedTuple):
    """What an ImagingStudy says of its instances: how many, and which where it lists them."""

    instances: int | None
    listed: tuple[Instance, ...]


class Piece(NamedTuple):
    """One request: its address, and the SOP Instance UID when it is for one instance."""

    url: str
    sop_uid: str | None


def announced(study: Mapping[str, Any]) -> Announced:
    """Read ``numberOfInstances`` and the lists of series, STU3 and R4 alike."""
    listed: list[Instance] = []
    counts: list[int | None] = []
    for series in objects(study.get("series")):
        counts.append(_count(series))
        for instance in objects(series.get("instance")):
            with suppress(InvalidUID):  # it still counts by number
                listed.append(
                    Instance(check_uid(series.get("uid")), check_uid(instance.get("uid")))
                )
    count = _count(study)
    if count is None and counts and None not in counts:
        count = sum(each for each in counts if each is not None)
    return Announced(count, tuple(listed) if count in (None, len(listed)) else ())


def pieces(url: str, listed: Collection[Instance], have: Collection[str]) -> Iterator[Piece]:
    """Requests for what is listed and not there: a series none of which is there in one go."""
    begun = {each.series_uid for each in listed if each.instance_uid in have}
    asked: set[str] = set()
    for each in listed:
        if each.instance_uid in have or each.series_uid in asked:
            continue
        if each.series_uid in begun:
            yield Piece(instance_url(url, each), each.instance_uid)
        else:
            asked.add(each.series_uid)
            path, question, query = url.partition("?")
            yield Piece(f"{path}/series/{each.series_uid}{question}{query}", None)


def _count(holder: Mapping[str, Any]) -> int | None:
    count = holder.get("numberOfInstances")
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else None
