"""When a study is complete: one definition, and the evidence for it.

A study is complete when every instance of it is stored. Nobody can say so but the holder, and
there are two ways in which it does:

- ``transfer``: the complete study was requested and the answer closed in order, with nothing in
  it that could not be stored;
- ``list``: the holder's list of instances (QIDO-RS) was read to its end, and each instance of it
  is stored.

What an ImagingStudy says (numbers and lists of series and instances) may be older than the
archive, or list some series only: it is a lower bound. Less than that is incomplete whatever else
was seen; more is stored and reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from ..dicomweb.qido import InstanceList
from ..dicomweb.wado import Instance
from ..errors import InvalidUID
from ..fhir.resources import check_uid, objects
from ..store.receive import Rejected
from ..store.study_folder import StoredInstance

Stored = Mapping[str, StoredInstance]
Evidence = Literal["transfer", "list", ""]
#: Reasons to set a part aside that leave nothing out of this study.
_NOT_OF_THE_STUDY = frozenset({"conflict", "other-study", "foreign"})


@dataclass(frozen=True)
class LowerBound:
    """What an ImagingStudy says of its instances, which may be less than there are.

    Attributes:
        count: the number of instances, None where it gives none.
        instances: those that it lists.
        series: Series Instance UIDs that it lists.
    """

    count: int | None
    instances: tuple[Instance, ...]
    series: frozenset[str]

    def missing(self, stored: Stored) -> tuple[str, ...]:
        """Return the SOP Instance UIDs that are listed and not stored."""
        return tuple(i.instance_uid for i in self.instances if i.instance_uid not in stored)

    def met(self, stored: Stored) -> bool:
        """Return whether at least as much is stored."""
        present = {instance.series_uid for instance in stored.values()}
        enough = self.count is None or len(stored) >= self.count
        return bool(stored) and enough and self.series <= present and not self.missing(stored)


NO_BOUND = LowerBound(None, (), frozenset())


@dataclass
class Outcome:
    """What one endpoint gave.

    Attributes:
        transferred: the complete study was requested and its answer closed in order.
        listing: the holder's list, where it was requested.
        resumed: what was missing of an earlier complete download, and nothing else, was requested.
        rejected: parts that were not stored.
        dicom_patient: Patient ID in the files.
    """

    transferred: bool = False
    listing: InstanceList | None = None
    resumed: bool = False
    rejected: Sequence[Rejected] = field(default_factory=list)
    dicom_patient: str = ""

    @property
    def spoiled(self) -> bool:
        """Whether a part that was set aside may be an instance of this study."""
        return any(part.reason not in _NOT_OF_THE_STUDY for part in self.rejected)

    def evidence(self, stored: Stored) -> Evidence:
        """Return how the holder showed that ``stored`` is all it has; "" where it did not."""
        if self.listing is not None and self.listing.exhausted:
            listed = all(i.instance_uid in stored for i in self.listing.instances)
            return "list" if listed else ""
        return "transfer" if (self.transferred or self.resumed) and not self.spoiled else ""

    def proves(self, stored: Stored, bound: LowerBound) -> bool:
        """Return whether a study is complete by this endpoint alone."""
        return self.evidence(stored) != "" and bound.met(stored)


def all_evidence(outcomes: Sequence[Outcome], stored: Stored, bound: LowerBound) -> Evidence:
    """Return the evidence that a study is complete; "" unless each endpoint gave some."""
    kinds = [outcome.evidence(stored) for outcome in outcomes]
    return kinds[-1] if kinds and all(kinds) and bound.met(stored) else ""


def lower_bound(*studies: Mapping[str, Any]) -> LowerBound:
    """Read ``numberOfInstances`` and the series of ImagingStudy resources, STU3 or R4.

    Args:
        studies: the resources of one study: two archives may each have one, or a correction.
    """
    instances: dict[Instance, None] = {}
    uids: set[str] = set()
    counts = [0]
    for study in studies:
        total = 0
        for series in objects(study.get("series")):
            listed = list(objects(series.get("instance")))
            total += max(_count(series) or 0, len(listed))
            with suppress(InvalidUID):  # it still counts by number
                series_uid = check_uid(series.get("uid"))
                if listed or _count(series):
                    uids.add(series_uid)
                for instance in listed:
                    with suppress(InvalidUID):
                        instances[Instance(series_uid, check_uid(instance.get("uid")))] = None
        counts += [_count(study) or 0, total]
    count = max(*counts, len({instance.instance_uid for instance in instances}))
    return LowerBound(count or None, tuple(instances), frozenset(uids))


def _count(resource: Mapping[str, Any]) -> int | None:
    count = resource.get("numberOfInstances")
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else None
