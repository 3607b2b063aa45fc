"""A small data holder on the fault server: open or with sign-in, FHIR, WADO-RS, faults on order.

FHIR and images are on one origin; what the holder does is set by its attributes.
"""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from collections import Counter
from email.utils import formatdate
from urllib.parse import parse_qs, urlsplit

from tests.faultserver import Conversation, FaultServer, scripts
from tests.faultserver.holder import configuration
from tests.store import dicom

CLOSING = scripts.multipart([])


class Holder:
    def __init__(self):
        self.lock = threading.Lock()
        self.studies: dict[str, dict[str, bytes]] = {dicom.STUDY: dicom.study_of(6, size=3000)}
        self.claims = [claim(number) for number in range(7)]
        self.page_size = 3
        self.lists_instances = False  # ImagingStudy.series[].instance[]
        self.offers_pieces = True  # WADO-RS below the study
        self.offers_qidotoo = True
        self.list_limit: int | None = None  # instances of a page of that list, at most
        self.list_warns = True  # a Warning 299 says that there are more
        self.list_offset = True  # `offset` is obeyed
        self.announces = True  # numberOfInstances
        self.foreign: list[tuple[bytes, bytes]] = []  # type and bytes of parts in each answer
        self.lengths = True  # Content-Length of each part
        self.chance = random.Random(7)
        self.busy_share = self.reset_share = 0.0  # of requests for images, of instances
        self.announce: dict[str, int] = {}
        self.token: str | None = None  # a bearer token that is asked for
        self.tokens: set[str] = set()
        self.withdrawn = False  # no refresh succeeds
        self.requests: list[tuple[str, str, int]] = []  # method, path with query, status
        self.sent: Counter[str] = Counter()  # SOP Instance UID: times sent whole
        self.busy: dict[str, list[str | None]] = {}  # path part: Retry-After values still to give
        self.errors: dict[str, list[tuple[int, bytes]]] = {}  # statuses and bodies still to give
        self.metadata: dict = {}  # the CapabilityStatement, where there is one
        self.fail: dict[str, list[int]] = {}  # path part: statuses still to give
        self.cut_after: int | None = None  # instances until the connection is cut, once
        self.cut_bytes = 100
        self.replace: dict[str, bytes] = {}  # SOP Instance UID: what is sent in its place
        self.extra: list[bytes] = []
        self.drop: set[str] = set()  # SOP Instance UIDs that are never sent
        self.delay = 0.0  # seconds between instances
        self.stall_after: int | None = None  # instances until nothing comes for a while, once
        self.clock_skew = 0.0
        self.updated: dict[str, float] = {}  # claim id: lastUpdated, by the holder's clock
        self.before_page = None  # callable(path)
        self.references: dict[str, str] = {}  # study: what it names in place of its Endpoint
        patient = {"resourceType": "Patient", "id": "p1", "gender": "female"}
        self.readable: dict[str, dict] = {"Patient/p1": patient}  # what is read by its id
        self.images_at: str | None = None  # an imaging base that discovery names
        self.server = FaultServer().on("*", lambda talk: Reply(self, talk).send())

    @property
    def root(self) -> str:
        return self.server.origin

    @property
    def fhir(self) -> str:
        return f"{self.root}/fhir"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.stop()

    def asked(self, part: str) -> list[str]:
        with self.lock:
            return [path for _, path, _ in self.requests if part in path]

    def now(self) -> float:
        return time.time() + self.clock_skew

    # FHIR

    def study_resource(self, uid: str) -> dict:
        files = self.studies[uid]
        resource = {
            "resourceType": "ImagingStudy",
            "id": f"study-{uid[-6:]}",
            "uid": f"urn:oid:{uid}",
            "availability": "ONLINE",
            "patient": {"reference": "Patient/p1"},
            "started": "2016-05-01T10:00:00Z",
            "modalityList": [{"code": "CT"}],
            "numberOfInstances": self.announce.get(uid, len(files)),
            "contained": [
                {
                    "resourceType": "Endpoint",
                    "id": "e",
                    "status": "active",
                    "connectionType": {"code": "dicom-wado-rs"},
                    "address": f"{self.root}/wado",
                }
            ],
            "endpoint": [{"reference": self.references.get(uid, "#e")}],
        }
        if not self.announces:
            del resource["numberOfInstances"]
        if self.lists_instances:
            series: dict[str, list[dict]] = {}
            for sop in files:
                series.setdefault(sop.rpartition(".")[0], []).append(
                    {"uid": f"urn:oid:{sop}", "number": 1, "sopClass": f"urn:oid:{dicom.CT}"}
                )
            resource["series"] = [
                {"uid": f"urn:oid:{uid}", "modality": {"code": "CT"}, "instance": instances}
                for uid, instances in series.items()
            ]
        return resource

    def resources(self, kind: str, query: dict) -> list[dict]:
        if kind == "ImagingStudy":
            return [self.study_resource(uid) for uid in self.studies]
        if kind == "Coverage":
            return [
                {"resourceType": "Coverage", "id": "c1", "beneficiary": {"reference": "Patient/p1"}}
            ]
        found = list(self.claims)
        since = query.get("_lastUpdated")
        if since:
            from datetime import datetime

            moment = datetime.fromisoformat(since[0].removeprefix("gt")).timestamp()
            found = [c for c in found if self.updated.get(c["id"], 0.0) > moment]
        return found

    def bundle(self, kind: str, query: dict, path: str) -> dict:
        found = self.resources(kind, query)
        start = int(query.get("startIndex", ["0"])[0])
        page = found[start : start + self.page_size]
        links = []
        if start + self.page_size < len(found):
            rest = {name: values[0] for name, values in query.items()} | {
                "startIndex": str(start + self.page_size)
            }
            joined = "&".join(f"{name}={value}" for name, value in rest.items())
            links.append({"relation": "next", "url": f"{self.root}{path}?{joined}"})
        return {
            "resourceType": "Bundle",
            "type": "searchset",
            "link": links,
            "entry": [{"resource": resource} for resource in page],
        }


class Reply:
    """The answer to one request, as this holder's attributes say; written by a script."""

    def __init__(self, holder: Holder, talk: Conversation) -> None:
        self.holder, self.talk = holder, talk
        request = talk.seen
        self.method, self.path, self.body = request.method, request.target, request.body
        self.bearer = request.bearer or ""

    def answer(self, status, body=b"", content="application/json", **headers):
        self.head(status, {"Content-Type": content, "Content-Length": str(len(body)), **headers})
        self.talk.send(body)
        self.talk.keep = True

    def head(self, status, headers):
        with self.holder.lock:
            self.holder.requests.append((self.method, self.path, status))
        pairs = {"Date": formatdate(self.holder.now(), usegmt=True), **headers}
        named = {name.replace("_", "-"): value for name, value in pairs.items()}
        self.talk.send(scripts.head(status, named))

    def put_off(self) -> bool:
        with self.holder.lock:
            for part, values in self.holder.busy.items():
                if part in self.path and values:
                    value = values.pop(0)
                    break
            else:
                value = ...
            status = next(
                (s.pop(0) for part, s in self.holder.fail.items() if part in self.path and s),
                None,
            )
            error = next(
                (e.pop(0) for part, e in self.holder.errors.items() if part in self.path and e),
                None,
            )
        if error is not None:
            self.answer(*error)
            return True
        if value is not ...:
            self.answer(503, **({} if value is None else {"Retry_After": value}))
            return True
        if status is not None:
            self.answer(status)
            return True
        return False

    def unlucky(self) -> bool:
        with self.holder.lock:
            return self.holder.chance.random() < self.holder.busy_share

    def send(self) -> None:
        if self.method == "POST":
            self.post()
        else:
            self.get()

    def get(self):
        where = urlsplit(self.path)
        query = parse_qs(where.query)
        if self.holder.before_page is not None:
            self.holder.before_page(self.path)
        public = "well-known" in where.path or where.path.endswith("/metadata")
        if self.holder.token is not None and not public and self.bearer not in self.holder.tokens:
            self.answer(401)
        elif self.put_off():
            return
        elif where.path.startswith("/wado/") and self.unlucky():
            self.answer(503, Retry_After="0.05")
        elif where.path == "/fhir/metadata" and self.holder.metadata:
            self.json(self.holder.metadata)
        elif where.path.startswith("/wado/"):
            self.wado(where.path)
        elif where.path.removeprefix("/fhir/") in self.holder.readable:
            self.json(self.holder.readable[where.path.removeprefix("/fhir/")])
        elif where.path.rpartition("/")[2] in (
            "ImagingStudy",
            "Coverage",
            "ExplanationOfBenefit",
        ):
            self.json(self.holder.bundle(where.path.rpartition("/")[2], query, where.path))
        elif where.path == "/fhir/.well-known/smart-configuration" and self.holder.token:
            images = [{"url": url, "capabilities": ["smart-imaging-access"]}
                      for url in [self.holder.images_at] if url]  # fmt: skip
            self.json(
                configuration(
                    self.holder.root,
                    capabilities=["launch-standalone"],
                    associated_endpoints=images,
                    **dict.fromkeys(("issuer", "management_endpoint", "scopes_supported")),
                )
            )
        else:
            self.answer(404)

    def post(self):
        if self.path == "/register":
            where = json.loads(self.body)["redirect_uris"]
            self.json({"client_id": "client-1", "client_secret": "s", "redirect_uris": where}, 201)
        elif self.path == "/token" and self.holder.withdrawn and b"refresh_token" in self.body:
            said = {"error": "invalid_grant", "error_description": "withdrawn by Ann Example"}
            self.json(said, 400)
        elif self.path == "/token":
            number = len(self.holder.asked("/token"))
            token = f"{self.holder.token}-{number}"
            self.holder.tokens.add(token)
            self.json(
                {
                    "access_token": token,
                    "refresh_token": f"{self.holder.token}-refresh-{number}",
                    "token_type": "Bearer",
                    "expires_in": 3600,
                    "scope": "patient/*.read",
                    "patient": "p1",
                }
            )
        elif self.path == "/revoke":
            self.holder.tokens.clear()
            self.answer(200)
        else:
            self.answer(404)

    def json(self, body, status=200):
        self.answer(status, json.dumps(body).encode(), "application/fhir+json")

    def wado(self, path):
        parts = path.strip("/").split("/")[1:]
        files = self.holder.studies.get(parts[1], {})
        if len(parts) == 3 and parts[2] == "instances" and self.holder.offers_qidotoo:
            listed = [
                {
                    "0020000E": {"vr": "UI", "Value": [sop.rpartition(".")[0]]},
                    "00080018": {"vr": "UI", "Value": [sop]},
                }
                for sop in files
            ]
            self.list(listed)
            return
        if len(parts) > 2 and not (self.holder.offers_pieces and parts[2] == "series"):
            self.answer(404)
            return
        if len(parts) >= 4:
            files = {s: f for s, f in files.items() if s.rpartition(".")[0] == parts[3]}
        if len(parts) == 6:
            files = {s: f for s, f in files.items() if s == parts[5]}
        files = {s: f for s, f in files.items() if s not in self.holder.drop}
        if not files:
            self.answer(404)
            return
        self.multipart(files)

    def list(self, listed):
        query = parse_qs(urlsplit(self.path).query)
        offset = int(query.get("offset", ["0"])[0]) if self.holder.list_offset else 0
        limit = min(int(query.get("limit", ["1000"])[0]), self.holder.list_limit or 1000)
        page, more = listed[offset:][:limit], len(listed[offset:]) > limit
        warning = '299 holder "There are additional results that can be requested"'
        said = {"Warning": warning} if more and self.holder.list_warns else {}
        self.answer(200, json.dumps(page).encode(), "application/dicom+json", **said)

    def multipart(self, files):
        self.head(200, {"Content-Type": scripts.MULTIPART, "Connection": "close"})
        bodies = [(sop, self.holder.replace.get(sop, data)) for sop, data in files.items()]
        bodies += [("", data) for data in self.holder.extra]
        for sop, data in bodies:
            with self.holder.lock:
                cut = self.holder.cut_after == 0
                if self.holder.cut_after is not None:
                    self.holder.cut_after = None if cut else self.holder.cut_after - 1
                cut = cut or self.holder.chance.random() < self.holder.reset_share
            part = scripts.multipart([data], lengths=self.holder.lengths)
            end = len(part) - len(CLOSING)
            if cut:
                self.talk.send(part[: end - len(data) - 2 + self.holder.cut_bytes])
                return
            self.talk.send(part[:end])
            self.holder.sent[sop] += 1
            if (
                self.holder.stall_after is not None
                and len(self.holder.sent) >= self.holder.stall_after
            ):
                self.holder.stall_after = None
                self.talk.pause(4)
            if self.holder.delay:
                self.talk.pause(self.holder.delay)
        for kind, data in self.holder.foreign:
            self.talk.send(scripts.multipart([data], kind=kind)[: -len(CLOSING)])
        self.talk.send(CLOSING)


def claim(number: int, **more) -> dict:
    return {
        "resourceType": "ExplanationOfBenefit",
        "id": f"claim-{number}",
        "patient": {"reference": "Patient/p1"},
        "billablePeriod": {"start": "2016-01-01", "end": "2016-01-02"},
        **more,
    }


def state_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["state"][0]


def basic(header: str) -> str:
    return base64.b64decode(header.removeprefix("Basic ")).decode()
