"""Walks a holder as the seed describes: each call for real, each answer held to a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from ... import errors
from ...dicomweb.wado import retrieve
from ...http.redact import url as redacted
from ...wording import count
from .finding import NOT_TRIED
from .record import Json, RecordWalk, json_of, said

ZONED = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?)?)?")


class Walk(RecordWalk):
    """The whole walk: the record, then its studies and the images of one of them."""

    # -- studies -----------------------------------------------------------------------------

    def studies(self) -> Iterator[tuple[Json, str, str, bool]]:
        """Judges the studies; yields those that can be fetched: (study, uid, WADO base, token)."""
        studies = self.resources.get("ImagingStudy", [])
        if not studies:
            for name in ("ImagingStudy.uid", "endpoint", "Endpoint.address"):
                self.tell(name, NOT_TRIED, "ImagingStudy", "there are no studies")
            return
        uids = [str(s.get("uid") or "") for s in studies]
        self._all("STU3", "ImagingStudy", ["subject" not in s for s in studies])
        self._all("ImagingStudy.uid", "ImagingStudy.uid", [bool(u) for u in uids])
        started = [s.get("started") for s in studies if s.get("started")]
        zoned = [bool(ZONED.fullmatch(str(moment))) for moment in started]
        self._all("ImagingStudy.started", "ImagingStudy.started", zoned)
        places = [self._places(s) for s in studies]
        self._all(
            "endpoint",
            "ImagingStudy.endpoint → Endpoint",
            [all(p is not None for p in found) for found in places],
        )
        usable = [
            (study, _uid(study), address, token)
            for study, found in zip(studies, places, strict=True)
            for address, token in [next((p for p in found if p is not None), ("", True))]
            if address
        ]
        plain = [not address.endswith(f"/studies/{uid}") for _, uid, address, _ in usable]
        self._all("Endpoint.address", "Endpoint.address", plain)
        yield from usable

    def _all(self, requirement: str, asked: str, good: list[bool]) -> None:
        if not good:
            self.tell(requirement, NOT_TRIED, asked, "there are none")
            return
        self.judge(requirement, all(good), asked, f"{sum(good)} of {len(good)}")

    def _places(self, study: Json) -> list[tuple[str, bool] | None]:
        """Each endpoint reference as (address, send the token?), or None where it leads nowhere.

        A study that says it is unavailable needs none.
        """
        references = [str(e.get("reference", "")) for e in study.get("endpoint", [])]
        if not references and study.get("availability") == "UNAVAILABLE":
            return []
        if not references and study.get("status") == "cancelled":
            return []
        return [self._place(study, reference) for reference in references] or [None]

    def _place(self, study: Json, reference: str) -> tuple[str, bool] | None:
        if reference.startswith("#"):
            held = study.get("contained", [])
        elif re.fullmatch(r"Endpoint/[A-Za-z0-9.\-]{1,64}", reference):
            held = [r for r in self.included if r.get("id") == reference.partition("/")[2]]
            if not held:
                held = [json_of(self.get(f"{self.base}/{reference}", wait=True))]
                self.included += held
        else:
            return None
        for candidate in held:
            kind = candidate.get("connectionType", {}).get("code")
            same = str(candidate.get("id")) == reference.rpartition("/")[2].lstrip("#")
            if same and kind == "dicom-wado-rs" and candidate.get("address"):
                needs = [e.get("valueBoolean") for e in candidate.get("extension", [])]
                return str(candidate["address"]).rstrip("/"), False not in needs
        return None

    # -- images ------------------------------------------------------------------------------

    def images(self, study: Json, uid: str, address: str, *, token: bool) -> None:
        """One whole study: waits, framing, count; then one that is not there."""
        url = address if address.endswith(f"/studies/{uid}") else f"{address}/studies/{uid}"
        shown = f"GET {redacted(url)}"
        first = self.transport.request(
            "GET",
            url,
            accept="multipart/related; type=application/dicom",
            token=token,
            wait=False,
            max_bytes=1 << 30,
        )
        if first.status == 503:
            self.waits.append((shown, first.headers.get("retry-after")))
        try:
            with retrieve(self.transport, url, token=token) as parts:
                found = [b"".join(bytes(c) for c in part.chunks()) for part in parts]
        except errors.S4SError as error:
            self.judge("images", False, shown, error.problem)
            self.tell("study is whole", NOT_TRIED, shown, "nothing came")
            return
        many = count(len(found), "instance")
        self.judge("images", found, shown, many)
        strange = [data for data in found if _study_of(data) != uid]
        announced = study.get("numberOfInstances")
        whole = not strange and announced in (None, len(found))
        came = f"{many}, {announced} announced, {len(strange)} of other studies"
        self.judge("study is whole", whole, shown, came)
        unknown = re.sub(r"/studies/.*", "", url) + "/studies/1.2.3.4.5"
        reply = self.transport.request(
            "GET",
            unknown,
            accept="multipart/related; type=application/dicom",
            token=token,
            wait=False,
        )
        self.judge("unknown study", reply.status == 404, f"GET {redacted(unknown)}", said(reply))


def _uid(study: Json) -> str:
    """The study's UID in STU3 or R4, bare."""
    named = [study.get("uid")] + [i.get("value") for i in study.get("identifier", [])]
    uids = [str(v).removeprefix("urn:oid:") for v in named if v]
    return next((u for u in uids if re.fullmatch(r"[0-9.]{1,64}", u)), "")


def _study_of(data: bytes) -> str:
    try:
        header = dcmread(BytesIO(data), stop_before_pixels=True)
    except (InvalidDicomError, EOFError, ValueError, KeyError):
        return ""
    return str(header.get("StudyInstanceUID", ""))
