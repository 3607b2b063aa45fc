"""The requests of the check: searches, refusals, and the images of one study."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import quote

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from ... import errors
from ...dicomweb.wado import retrieve
from ...fhir.endpoints import (
    WadoEndpoint,
    endpoint_references,
    find_endpoint,
    is_address,
    read_endpoint,
    study_url,
)
from ...fhir.resources import objects, read_reference, study_uid
from ...http.client import Transport
from ...http.redact import url as redacted
from ...http.response import Response
from ...wording import count
from .report import NOT_OFFERED, NOT_TRIED, Report

FHIR = "application/fhir+json, application/json+fhir;q=0.9, application/json;q=0.8"
DICOM = "multipart/related; type=application/dicom"
ZONED = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?)?)?")
NOBODY = "s4s-check-nobody"
MAX_PAGES = 1000
SEARCHED = ("ImagingStudy", "ExplanationOfBenefit")
Json = dict[str, Any]


@dataclass(frozen=True)
class Downloadable:
    """A study that can be requested: the resource, its UID, and where its images are."""

    study: Json
    uid: str
    endpoint: WadoEndpoint


@dataclass
class HolderCheck:
    """Sends the requests of the use case to one holder and judges each answer.

    Attributes:
        report: the outcomes, which grow as the check goes on.
        resources: what the searches returned, by type.
        included: the Endpoints that were received.
        waits: each answer of 503: the request, and its Retry-After header.
    """

    transport: Transport
    base: str
    patient: str
    signed_in: bool
    report: Report
    resources: dict[str, list[Json]] = field(default_factory=dict)
    included: list[Json] = field(default_factory=list)
    waits: list[tuple[str, str | None]] = field(default_factory=list)

    def run(self) -> None:
        """Check the record, the images of the smallest study, and what must be refused."""
        try:
            self._check_record()
            studies = list(self._check_studies())
            if studies:
                self._check_images(min(studies, key=_size))
            else:
                self.report.record("images", NOT_TRIED, "", "no study can be fetched")
            self._check_refusals()
        except errors.S4SError as error:
            self.report.record("images", NOT_TRIED, str(error.request or self.base), error.problem)
        self._check_waits()

    def _get(self, url: str, *, token: bool = True, wait: bool = False) -> Response:
        """Return the answer to one GET; 503 is recorded, and waited out when ``wait`` is true."""
        if wait:
            first = self._get(url, token=token)
            if first.status != 503:
                return first
        reply = self.transport.request("GET", url, accept=FHIR, token=token, wait=wait)
        if reply.status == 503:
            self.waits.append((f"GET {redacted(url)}", reply.headers.get("retry-after")))
        return reply

    # -- the record

    def _check_record(self) -> None:
        """Read the Patient and the Coverage, and make the two searches with their updates."""
        reply = self._get(f"{self.base}/Patient/{self.patient}", wait=True)
        body = json_of(reply)
        good = reply.status == 200 and body.get("id") == self.patient
        self.report.judge("Patient", good, f"GET Patient/{self.patient}", _summary(reply, body))
        self._search("Coverage", f"Coverage?beneficiary={self.patient}", "Coverage")
        for kind in SEARCHED:
            query = f"{kind}?patient={self.patient}"
            if self._search(kind, query, f"{kind} first-connection"):
                self._update(kind, query)
            else:
                problem = "the broad search failed"
                self.report.record(f"{kind} periodic-update", NOT_TRIED, "", problem)
        self._check_dates()

    def _search(self, kind: str, query: str, requirement: str) -> bool:
        """Read all pages of a search; return whether they are Bundles."""
        matches: list[Json] = []
        answer = ""
        url: str | None = f"{self.base}/{query}"
        visited: set[str] = set()
        for page in range(MAX_PAGES):
            if url is None or url in visited:
                break
            visited.add(url)
            reply = self._get(url, wait=True)
            bundle = json_of(reply)
            answer = _summary(reply, bundle)
            if reply.status != 200 or bundle.get("resourceType") != "Bundle":
                self.report.judge(requirement, False, f"GET {query}", answer)
                return False
            matches += _entries(bundle, kind)
            self.included += _entries(bundle, "Endpoint")
            url = self._next(bundle, page)
        self.resources[kind] = matches
        answer = f"{answer}, {len(matches)} resources in all"
        if url is not None:
            answer += f"; stopped after {count(len(visited), 'page')}, before the end"
        self.report.judge(requirement, url is None, f"GET {query}", answer)
        return True

    def _next(self, bundle: Json, page: int) -> str | None:
        """Return the address of the next page, if it is on an origin of the holder."""
        links = objects(bundle.get("link"))
        url = next((link.get("url") for link in links if link.get("relation") == "next"), None)
        if url is None:
            return None
        trusted = isinstance(url, str) and self._is_trusted(url)
        if page == 0 and not any(outcome.requirement == "paging" for outcome in self.report):
            first = redacted(str(links[0].get("url", "")))
            self.report.judge("paging", trusted, first, f"next: {redacted(str(url))}")
        return str(url) if trusted else None

    def _is_trusted(self, url: str) -> bool:
        try:
            return self.transport.origins.is_trusted(url)
        except errors.S4SError:  # no absolute address
            return False

    def _update(self, kind: str, query: str) -> None:
        """Search for what changed since the middle of the record; nothing older may be found."""
        dates = sorted(updated for r in self.resources[kind] if (updated := _last_updated(r)))
        since = dates[len(dates) // 2] if dates else "2016-04-16"
        url = f"{self.base}/{query}&_lastUpdated=gt{quote(since, safe=':')}"
        reply = self._get(url, wait=True)
        bundle = json_of(reply)
        request = f"GET {query}&_lastUpdated=gt{since}"
        requirement = f"{kind} periodic-update"
        if reply.status != 200 or bundle.get("resourceType") != "Bundle":
            self.report.judge(requirement, False, request, _summary(reply, bundle))
            return
        matches = _entries(bundle, kind)
        older = [r for r in matches if (updated := _last_updated(r)) and updated <= since]
        missing = bool(dates) and since < dates[-1] and not matches
        answer = f"{len(matches)} resources" + (f", {len(older)} of them older" if older else "")
        self.report.judge(requirement, not older and not missing, request, answer)

    def _check_dates(self) -> None:
        requirement = "resources are dated"
        for kind in SEARCHED:
            resources = self.resources.get(kind, [])
            undated = [r for r in resources if not (r.get("id") and _last_updated(r))]
            if undated:
                answer = f"{len(undated)} {kind} without"
                self.report.judge(requirement, False, f"{kind}.id, .meta.lastUpdated", answer)
                return
        if any(self.resources.values()):
            self.report.judge(requirement, True, "id, meta.lastUpdated", "all have both")

    # -- studies

    def _check_studies(self) -> Iterator[Downloadable]:
        """Judge the studies; yield those that can be requested."""
        studies = self.resources.get("ImagingStudy", [])
        if not studies:
            for name in ("ImagingStudy.uid", "endpoint", "Endpoint.address"):
                self.report.record(name, NOT_TRIED, "ImagingStudy", "there are no studies")
            return
        judge_all = self.report.judge_all
        judge_all("STU3", "ImagingStudy", ["subject" not in study for study in studies])
        judge_all("ImagingStudy.uid", "ImagingStudy.uid", [bool(s.get("uid")) for s in studies])
        started = [str(study["started"]) for study in studies if study.get("started")]
        zoned = [bool(ZONED.fullmatch(moment)) for moment in started]
        judge_all("ImagingStudy.started", "ImagingStudy.started", zoned)
        endpoints = [self._endpoints(study) for study in studies]
        resolved = [None not in of_study for of_study in endpoints]
        judge_all("endpoint", "ImagingStudy.endpoint → Endpoint", resolved)
        downloadable = [
            Downloadable(study, _uid(study), first)
            for study, of_study in zip(studies, endpoints, strict=True)
            if (first := next((e for e in of_study if e is not None), None)) is not None
        ]
        bases = [not d.endpoint.address.endswith(f"/studies/{d.uid}") for d in downloadable]
        judge_all("Endpoint.address", "Endpoint.address", bases)
        yield from downloadable

    def _endpoints(self, study: Json) -> list[WadoEndpoint | None]:
        """Return the endpoint of each reference of the study, None for one that leads nowhere.

        A study that is unavailable or cancelled needs no reference.
        """
        references = endpoint_references({"endpoint": study.get("endpoint")})
        not_needed = (
            study.get("availability") == "UNAVAILABLE" or study.get("status") == "cancelled"
        )
        if not references and not_needed:
            return []
        return [self._endpoint(study, reference) for reference in references] or [None]

    def _endpoint(self, study: Json, reference: str) -> WadoEndpoint | None:
        if is_address(reference):
            return None
        try:
            resource = find_endpoint(study, self.included, reference)
            if resource is None:
                resource = self._read_endpoint(reference)
            endpoint = read_endpoint(resource)
        except (errors.ContentError, errors.TrustError):
            return None
        return WadoEndpoint(endpoint.address.rstrip("/"), endpoint.requires_token, endpoint.code)

    def _read_endpoint(self, reference: str) -> Json:
        url = reference if "://" in reference else f"{self.base}/{reference}"
        body = json_of(self._get(url, wait=True))
        if body.get("id") != read_reference(reference).id:
            return {}
        self.included.append(body)
        return body

    # -- images

    def _check_images(self, downloadable: Downloadable) -> None:
        """Retrieve a complete study, then a study that does not exist."""
        endpoint, uid = downloadable.endpoint, downloadable.uid
        self.transport.origins.allow(endpoint.address)
        token = endpoint.requires_token is not False and self.signed_in
        try:
            url = study_url(endpoint.address, uid)
        except errors.S4SError as error:
            self.report.judge("images", False, redacted(endpoint.address), error.problem)
            self.report.record("study is whole", NOT_TRIED, "", "nothing came")
            return
        request = f"GET {redacted(url)}"
        first = self._get_images(url, token=token)
        if first.status == 503:
            self.waits.append((request, first.headers.get("retry-after")))
        try:
            with retrieve(self.transport, url, token=token) as parts:
                instances = [b"".join(bytes(c) for c in part.chunks()) for part in parts]
        except errors.S4SError as error:
            self.report.judge("images", False, request, error.problem)
            self.report.record("study is whole", NOT_TRIED, request, "nothing came")
            return
        received = count(len(instances), "instance")
        self.report.judge("images", instances, request, received)
        foreign = [data for data in instances if _study_uid_in(data) != uid]
        announced = downloadable.study.get("numberOfInstances")
        complete = not foreign and announced in (None, len(instances))
        answer = f"{received}, {announced} announced, {len(foreign)} of other studies"
        self.report.judge("study is whole", complete, request, answer)
        missing = re.sub(r"/studies/.*", "", url) + "/studies/1.2.3.4.5"
        reply = self._get_images(missing, token=token)
        request = f"GET {redacted(missing)}"
        self.report.judge("unknown study", reply.status == 404, request, _summary(reply))

    def _get_images(self, url: str, *, token: bool) -> Response:
        return self.transport.request(
            "GET", url, accept=DICOM, token=token, wait=False, max_bytes=1 << 30
        )

    # -- refusals

    def _check_refusals(self) -> None:
        """Request what must not be given, and what must not be an error."""
        nobody = f"ImagingStudy?patient={NOBODY}"
        if not self.signed_in:
            for name in ("a token is needed", "other patients are closed"):
                self.report.record(name, NOT_OFFERED, "", "this base is open")
            self._check_empty(nobody)
            return
        query = f"ImagingStudy?patient={self.patient}"
        reply = self._get(f"{self.base}/{query}", token=False)
        request = f"GET {query}, without token"
        self.report.judge("a token is needed", reply.status == 401, request, _summary(reply))
        reply = self._get(f"{self.base}/{nobody}")
        closed = reply.status in (401, 403, 404) or _is_empty(reply)
        self.report.judge("other patients are closed", closed, f"GET {nobody}", _summary(reply))
        self._check_empty(f"{query}&_lastUpdated=gt2999-01-01")

    def _check_empty(self, query: str) -> None:
        reply = self._get(f"{self.base}/{query}")
        requirement = "nothing found is no error"
        self.report.judge(requirement, _is_empty(reply), f"GET {query}", _summary(reply))

    def _check_waits(self) -> None:
        """Judge whether every 503 had a Retry-After header in whole seconds."""
        if not self.waits:
            self.report.record("503 says when", NOT_OFFERED, "", "no 503 was met")
            return
        wrong = [wait for wait in self.waits if not re.fullmatch(r"[0-9]+", wait[1] or "")]
        request, value = (wrong or self.waits)[0]
        answer = "no Retry-After" if value is None else f"Retry-After: {value}"
        self.report.judge("503 says when", not wrong, request, answer)


def json_of(reply: Response) -> Json:
    """Return the JSON object of an answer; an empty one where it is none."""
    try:
        body = reply.json()
    except errors.MalformedResponse:
        return {}
    return body if isinstance(body, dict) else {}


def _summary(reply: Response, body: Json | None = None) -> str:
    return f"{reply.status} {(body or {}).get('resourceType', '')}".strip()


def _is_empty(reply: Response) -> bool:
    return reply.status == 200 and not _entries(json_of(reply))


def _entries(bundle: Json, kind: str = "") -> list[Json]:
    """Return the resources of a Bundle, of one type or all."""
    resources = [
        resource
        for entry in objects(bundle.get("entry"))
        for resource in objects(entry.get("resource"))
    ]
    return [r for r in resources if not kind or r.get("resourceType") == kind]


def _last_updated(resource: Json) -> str:
    return next((str(m.get("lastUpdated") or "") for m in objects(resource.get("meta"))), "")


def _size(downloadable: Downloadable) -> int:
    number = downloadable.study.get("numberOfInstances")
    return number if isinstance(number, int) and number > 0 else 1


def _uid(study: Mapping[str, Any]) -> str:
    try:
        return study_uid(study)
    except errors.InvalidUID:
        return ""


def _study_uid_in(data: bytes) -> str:
    try:
        header = dcmread(BytesIO(data), stop_before_pixels=True)
    except (InvalidDicomError, EOFError, ValueError, KeyError):
        return ""
    return str(header.get("StudyInstanceUID", ""))
