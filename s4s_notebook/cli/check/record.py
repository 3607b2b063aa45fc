"""The walk over a record: searches and their updates, refusals, waits."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ... import errors
from ...http.client import Transport
from ...http.redact import url as redacted
from ...http.response import Response
from .finding import MET, NOT_MET, NOT_OFFERED, NOT_TRIED, Finding
from .sentences import SENTENCES

FHIR = "application/fhir+json, application/json+fhir;q=0.9, application/json;q=0.8"
ZONED = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?)?)?")
NOBODY = "s4s-check-nobody"
MAX_PAGES = 20
Json = dict[str, Any]


@dataclass
class RecordWalk:
    """The part of a walk that needs no images. ``findings`` grows as it goes."""

    transport: Transport
    base: str
    patient: str
    signed_in: bool
    findings: list[Finding] = field(default_factory=list)
    resources: dict[str, list[Json]] = field(default_factory=dict)
    included: list[Json] = field(default_factory=list)
    waits: list[tuple[str, str | None]] = field(default_factory=list)

    # -- telling ---------------------------------------------------------------------------

    def tell(self, requirement: str, verdict: str, asked: str, came: str) -> None:
        sentence = SENTENCES[requirement]
        self.findings.append(Finding(requirement, verdict, asked, came, sentence))

    def judge(self, requirement: str, good: object, asked: str, came: str) -> bool:
        self.tell(requirement, MET if good else NOT_MET, asked, came)
        return bool(good)

    def get(self, url: str, *, token: bool = True, wait: bool = False) -> Response:
        """One GET. 503s are noted, and waited out when ``wait`` is true."""
        if wait:
            first = self.get(url, token=token)
            if first.status != 503:
                return first
        reply = self.transport.request("GET", url, accept=FHIR, token=token, wait=wait)
        if reply.status == 503:
            self.waits.append((f"GET {redacted(url)}", reply.headers.get("retry-after")))
        return reply

    # -- the record --------------------------------------------------------------------------

    def record(self) -> None:
        """Patient, Coverage, and the two searches with their updates."""
        url = f"{self.base}/Patient/{self.patient}"
        reply = self.get(url, wait=True)
        body = json_of(reply)
        good = reply.status == 200 and body.get("id") == self.patient
        self.judge("Patient", good, f"GET Patient/{self.patient}", said(reply, body))
        self._search("Coverage", f"Coverage?beneficiary={self.patient}", "Coverage")
        for type_ in ("ImagingStudy", "ExplanationOfBenefit"):
            query = f"{type_}?patient={self.patient}"
            if self._search(type_, query, f"{type_} first-connection"):
                self._update(type_, query)
            else:
                self.tell(f"{type_} periodic-update", NOT_TRIED, "", "the broad search failed")
        self._dated()

    def _search(self, type_: str, query: str, requirement: str) -> bool:
        found: list[Json] = []
        came = ""
        url: str | None = f"{self.base}/{query}"
        for page in range(MAX_PAGES):
            if url is None:
                break
            reply = self.get(url, wait=True)
            bundle = json_of(reply)
            came = said(reply, bundle)
            if reply.status != 200 or bundle.get("resourceType") != "Bundle":
                self.judge(requirement, False, f"GET {query}", came)
                return False
            found += [r for r in entries_of(bundle) if r.get("resourceType") == type_]
            self.included += [r for r in entries_of(bundle) if r.get("resourceType") == "Endpoint"]
            url = self._next(bundle, page)
        self.resources[type_] = found
        self.judge(requirement, True, f"GET {query}", f"{came}, {len(found)} resources in all")
        return True

    def _next(self, bundle: Json, page: int) -> str | None:
        links = [x for x in bundle.get("link", []) if isinstance(x, dict)]
        url = next((x.get("url") for x in links if x.get("relation") == "next"), None)
        if url is None:
            return None
        near = isinstance(url, str) and url.startswith(("http://", "https://"))
        near = near and self.transport.origins.is_trusted(str(url))
        told = any(f.requirement == "paging" for f in self.findings)
        if page == 0 and not told:
            asked = str(links[0].get("url", "")) if links else ""
            self.judge("paging", near, redacted(asked), f"next: {redacted(str(url))}")
        return str(url) if near else None

    def _update(self, type_: str, query: str) -> None:
        """Half the record is older than the mark: only the younger half may come."""
        dates = sorted(updated_of(r) for r in self.resources[type_] if updated_of(r))
        mark = dates[len(dates) // 2] if dates else "2016-04-16"
        reply = self.get(
            f"{self.base}/{query}&_lastUpdated=gt{mark.replace('+', '%2B')}", wait=True
        )
        bundle = json_of(reply)
        asked = f"GET {query}&_lastUpdated=gt{mark}"
        requirement = f"{type_} periodic-update"
        if reply.status != 200 or bundle.get("resourceType") != "Bundle":
            self.judge(requirement, False, asked, said(reply, bundle))
            return
        came = [r for r in entries_of(bundle) if r.get("resourceType") == type_]
        older = [r for r in came if updated_of(r) and updated_of(r) <= mark]
        missed = bool(dates) and mark < dates[-1] and not came
        text = f"{len(came)} resources" + (f", {len(older)} of them older" if older else "")
        self.judge(requirement, not older and not missed, asked, text)

    def _dated(self) -> None:
        for type_ in ("ImagingStudy", "ExplanationOfBenefit"):
            bare = [r for r in self.resources.get(type_, []) if not (r.get("id") and updated_of(r))]
            if bare:
                came = f"{len(bare)} {type_} without"
                self.judge("resources are dated", False, f"{type_}.id, .meta.lastUpdated", came)
                return
        if any(self.resources.values()):
            self.judge("resources are dated", True, "id, meta.lastUpdated", "all have both")

    # -- refusals ------------------------------------------------------------------------------

    def refusals(self) -> None:
        """What must not be given, and what must not be an error."""
        if not self.signed_in:
            for name in ("a token is needed", "other patients are closed"):
                self.tell(name, NOT_OFFERED, "", "this base is open")
            reply = self.get(f"{self.base}/ImagingStudy?patient={NOBODY}")
            good = reply.status == 200 and not entries_of(json_of(reply))
            asked = f"GET ImagingStudy?patient={NOBODY}"
            self.judge("nothing found is no error", good, asked, said(reply))
            return
        reply = self.get(f"{self.base}/ImagingStudy?patient={self.patient}", token=False)
        asked = f"GET ImagingStudy?patient={self.patient}, without token"
        self.judge("a token is needed", reply.status == 401, asked, said(reply))
        reply = self.get(f"{self.base}/ImagingStudy?patient={NOBODY}")
        closed = reply.status in (401, 403, 404) or (
            reply.status == 200 and not entries_of(json_of(reply))
        )
        asked = f"GET ImagingStudy?patient={NOBODY}"
        self.judge("other patients are closed", closed, asked, said(reply))
        query = f"ImagingStudy?patient={self.patient}&_lastUpdated=gt2999-01-01"
        reply = self.get(f"{self.base}/{query}")
        good = reply.status == 200 and not entries_of(json_of(reply))
        self.judge("nothing found is no error", good, f"GET {query}", said(reply))

    def patience(self) -> None:
        """Every 503 that was met on the way said when to come back, in whole seconds."""
        if not self.waits:
            self.tell("503 says when", NOT_OFFERED, "", "no 503 was met")
            return
        odd = [(asked, value) for asked, value in self.waits if not _whole_seconds(value)]
        asked, value = (odd or self.waits)[0]
        came = "no Retry-After" if value is None else f"Retry-After: {value}"
        self.judge("503 says when", not odd, asked, came)


def _whole_seconds(value: str | None) -> bool:
    return value is not None and value.isascii() and value.isdigit()


def json_of(reply: Response) -> Json:
    try:
        body = reply.json()
    except errors.MalformedResponse:
        return {}
    return body if isinstance(body, dict) else {}


def said(reply: Response, body: Json | None = None) -> str:
    kind = (body or {}).get("resourceType", "")
    return f"{reply.status} {kind}".strip()


def entries_of(bundle: Json) -> list[Json]:
    entries = [e for e in bundle.get("entry") or [] if isinstance(e, dict)]
    return [e["resource"] for e in entries if isinstance(e.get("resource"), dict)]


def updated_of(resource: Json) -> str:
    return str((resource.get("meta") or {}).get("lastUpdated") or "")
