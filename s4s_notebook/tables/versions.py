"""De-duplication of resources: which are copies, which is the newest, and in what order.

Kept in packed arrays: some hundred bytes a resource, most of them its id and two digests. It is
all that stays of a resource beside its rows, for a copy may still come on the last page.
"""

from __future__ import annotations

import hashlib
import json
import marshal
import struct
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from .values import MOMENTS, NOT_A_TIME

_STATED = 16  # bytes of a version that the holder states, before the digest of the content
_ID = 8  # bytes of those that its versionId takes; zeros where there is none
_VERSION, _DIGEST = 24, 16  # bytes
_UNSTATED = struct.pack(">QQ", 0, 0)


class Identity(NamedTuple):
    """What rows are ordered by; all but the day are what makes two copies the same."""

    participant: str
    patient: str
    day: str
    key: str
    type: str


class Versions:
    """Numbers the resources in the order in which they come."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}  # participants, patients, days, types: each text once
        self._texts: list[str] = []
        self._identity_codes = array("i")  # four codes a resource
        self._keys, self._ends = bytearray(), array("q", [0])
        self._versions = bytearray()
        self._newest: dict[bytes, int] = {}  # digest of an identity → number of the newest copy
        self._dead = bytearray()  # a byte a resource: a newer copy came
        self._differing: set[int] = set()
        self.copies: Counter[str] = Counter()
        """By type, how many came that were here already."""

    def __len__(self) -> int:
        return len(self._dead)

    def add(self, identity: Identity, stated: bytes, values: Callable[[], bytes]) -> int | None:
        """Return the number of a resource; None where the same or a newer copy is here already.

        Args:
            identity: what makes two copies the same.
            stated: what the holder states of the version, see :func:`stated_version`.
            values: returns a digest of the rows of the copy; called only where it matters.
        """
        digest = _digest(*identity[:2], *identity[3:])
        best, number = self._newest.get(digest), len(self)
        if best is None:
            version = stated + values()
        else:
            self.copies[identity.type] += 1
            stored = bytes(self._versions[_VERSION * best : _VERSION * (best + 1)])
            same_version = _same_version(stated, stored)
            if stated < stored[:_STATED] and not same_version:
                return None
            version = stated + values()
            newest = best if version <= stored else number
            if same_version and (version[_STATED:] != stored[_STATED:] or best in self._differing):
                self._differing.add(newest)
            if newest == best:
                return None
            self._dead[best] = 1
        self._newest[digest] = number
        self._add(identity, version)
        return number

    def _add(self, identity: Identity, version: bytes) -> None:
        for text in (identity.participant, identity.patient, identity.day, identity.type):
            code = self._codes.setdefault(text, len(self._texts))
            if code == len(self._texts):
                self._texts.append(text)
            self._identity_codes.append(code)
        self._keys += identity.key.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._keys))
        self._versions += version
        self._dead.append(0)

    def identity(self, number: int) -> Identity:
        """Return the identity of a resource as it was added."""
        start, end = self._ends[number : number + 2]
        key = self._keys[start:end].decode("utf-8", "surrogatepass")
        codes = self._identity_codes[4 * number : 4 * number + 4]
        participant, patient, day, type_ = (self._texts[code] for code in codes)
        return Identity(participant, patient, day, key, type_)

    def ranks(self) -> np.ndarray[Any, Any]:
        """Return for each number its rank among the newest copies; -1 for the others."""
        alive = [number for number in range(len(self)) if not self._dead[number]]
        alive.sort(key=self.identity)
        ranks = np.full(len(self), -1, dtype="int32")
        ranks[alive] = np.arange(len(alive), dtype="int32")
        return ranks

    def differing(self) -> Iterator[tuple[int, bool]]:
        """Yield the newest copies that others differ from in content and not in version.

        Yields:
            The number of the copy, and whether it states a version at all.
        """
        for number in self._differing:
            if not self._dead[number]:
                stated = self._versions[_VERSION * number : _VERSION * number + _STATED]
                yield number, stated != _UNSTATED

    def participants(self) -> tuple[list[str], np.ndarray[Any, Any]]:
        """Return texts, and for each number the index of its participant among them."""
        return list(self._texts), np.array(self._identity_codes[::4], dtype="int32")


def stated_version(resource: Mapping[str, Any]) -> bytes:
    """Return what the holder states of a copy's version, as bytes that compare in order.

    It is the versionId where that is a number, then lastUpdated.
    """
    meta = resource.get("meta")
    number, updated = -1, NOT_A_TIME
    if type(meta) is dict:
        version_id, instant = meta.get("versionId"), meta.get("lastUpdated")
        if (
            type(version_id) is str
            and version_id.isascii()
            and version_id.isdigit()
            and len(version_id) < 19
        ):
            number = int(version_id)
        updated = MOMENTS[instant] if type(instant) is str else NOT_A_TIME
    return struct.pack(">QQ", number + 1, updated - NOT_A_TIME)


def digest_of(values: Any) -> bytes:
    """Return what tells copies apart where the holder does not: a digest of their values.

    It is the same on every machine and in whatever order copies come.
    """
    try:
        written = marshal.dumps(values, 2)  # 2: later formats depend on what else holds a value
    except ValueError:  # no plain JSON values
        written = repr(values).encode("utf-8", "surrogatepass")
    return hashlib.sha256(written).digest()[: _VERSION - _STATED]


def _same_version(first: bytes, second: bytes) -> bool:
    """Compare by versionId; where there is none, by lastUpdated."""
    size = _ID if first[:_ID] != _UNSTATED[:_ID] else _STATED
    return first[:size] == second[:size]


def content_of(resource: Mapping[str, Any]) -> str:
    """Return what stands for the id of a resource that has none: a digest of its content."""
    text = json.dumps(resource, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _digest(*texts: str) -> bytes:
    """Sixteen bytes that stand for the texts."""
    return hashlib.sha256(repr(texts).encode("ascii", "backslashreplace")).digest()[:_DIGEST]
