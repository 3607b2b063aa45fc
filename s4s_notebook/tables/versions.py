"""Who is who among the resources that came: which are copies, which is the newest, what order.

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

_SAID = 16  # bytes of a version that the holder said, before the digest of the content
_ID = 8  # bytes of those that its versionId takes; zeros where there is none
_VERSION, _SAME = 24, 16  # bytes
_UNSAID = struct.pack(">QQ", 0, 0)
_EMPTY = -1


class Name(NamedTuple):
    """What rows are ordered by; all but the day are what makes two copies the same."""

    participant: str
    patient: str
    day: str
    key: str
    type: str


class Register:
    """Numbers the resources in the order in which they come."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}  # participants, patients, days, types: each text once
        self._texts: list[str] = []
        self._named = array("i")  # four codes a resource
        self._keys, self._ends = bytearray(), array("q", [0])
        self._versions, self._same = bytearray(), bytearray()
        self._newest = array("i", [_EMPTY]) * 1024  # a hash table of the newest copies' numbers
        self._taken = 0
        self._dead = bytearray()  # a byte a resource: a newer copy came
        self._differing: set[int] = set()
        self.copies: Counter[str] = Counter()
        """By type, how many came that were here already."""

    def __len__(self) -> int:
        return len(self._dead)

    def enter(self, name: Name, said: bytes, values: Callable[[], bytes]) -> int | None:
        """The number of a resource; None where the same or a newer copy is here already.

        Args:
            name: what makes two copies the same.
            said: what the holder says of the version, see :func:`said_of`.
            values: gives a digest of what the copy comes to; asked only where it may matter.
        """
        same = _digest(*name[:2], *name[3:])
        slot = self._slot(same)
        best, number = self._newest[slot], len(self)
        if best == _EMPTY:
            self._taken += 1
            version = said + values()
        else:
            self.copies[name.type] += 1
            kept = bytes(self._versions[_VERSION * best : _VERSION * (best + 1)])
            rivals = _of_one_version(said, kept)
            if said < kept[:_SAID] and not rivals:
                return None
            version = said + values()
            stays = best if version <= kept else number
            if rivals and (version[_SAID:] != kept[_SAID:] or best in self._differing):
                self._differing.add(stays)
            if stays == best:
                return None
            self._dead[best] = 1
        self._newest[slot] = number
        self._add(name, version, same)
        if self._taken * 3 > len(self._newest) * 2:
            self._grow()
        return number

    def _add(self, name: Name, version: bytes, same: bytes) -> None:
        for text in (name.participant, name.patient, name.day, name.type):
            code = self._codes.setdefault(text, len(self._texts))
            if code == len(self._texts):
                self._texts.append(text)
            self._named.append(code)
        self._keys += name.key.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._keys))
        self._versions += version
        self._same += same
        self._dead.append(0)

    def _slot(self, same: bytes) -> int:
        """Where in the hash table these are, or belong."""
        last = len(self._newest) - 1
        slot = int.from_bytes(same[:8]) & last
        while (number := self._newest[slot]) != _EMPTY:
            if self._same.startswith(same, _SAME * number):
                break
            slot = (slot + 1) & last
        return slot

    def _grow(self) -> None:
        found = [number for number in self._newest if number != _EMPTY]
        self._newest = array("i", [_EMPTY]) * (2 * len(self._newest))
        for number in found:
            same = bytes(self._same[_SAME * number : _SAME * (number + 1)])
            self._newest[self._slot(same)] = number

    def name(self, number: int) -> Name:
        """As it was entered."""
        start, end = self._ends[number : number + 2]
        key = self._keys[start:end].decode("utf-8", "surrogatepass")
        codes = self._named[4 * number : 4 * number + 4]
        participant, patient, day, type_ = (self._texts[code] for code in codes)
        return Name(participant, patient, day, key, type_)

    def ranks(self) -> np.ndarray[Any, Any]:
        """For each number its place among the newest copies; -1 for the others."""
        alive = [number for number in range(len(self)) if not self._dead[number]]
        alive.sort(key=self.name)
        ranks = np.full(len(self), -1, dtype="int32")
        ranks[alive] = np.arange(len(alive), dtype="int32")
        return ranks

    def differing(self) -> Iterator[tuple[int, bool]]:
        """Of the newest copies those that others differ from in content and not in version; and
        whether they have a version at all."""
        for number in self._differing:
            if not self._dead[number]:
                said = self._versions[_VERSION * number : _VERSION * number + _SAID]
                yield number, said != _UNSAID

    def participants(self) -> tuple[list[str], np.ndarray[Any, Any]]:
        """Texts, and for each number the place of its participant among them."""
        return list(self._texts), np.array(self._named[::4], dtype="int32")


def said_of(resource: Mapping[str, Any]) -> bytes:
    """What the holder says of a copy's version, to be compared as it is: the versionId where it is
    a number, then lastUpdated."""
    meta = resource.get("meta")
    number, updated = -1, NOT_A_TIME
    if type(meta) is dict:
        found, instant = meta.get("versionId"), meta.get("lastUpdated")
        if type(found) is str and found.isascii() and found.isdigit() and len(found) < 19:
            number = int(found)
        updated = MOMENTS[instant] if type(instant) is str else NOT_A_TIME
    return struct.pack(">QQ", number + 1, updated - NOT_A_TIME)


def digest_of(values: Any) -> bytes:
    """What tells copies apart where the holder does not: a digest of the values they come to,
    the same whatever came first and wherever it is worked out."""
    try:
        written = marshal.dumps(values, 2)  # 2: later formats depend on what else holds a value
    except ValueError:  # no plain JSON values
        written = repr(values).encode("utf-8", "surrogatepass")
    return hashlib.sha256(written).digest()[: _VERSION - _SAID]


def _of_one_version(one: bytes, other: bytes) -> bool:
    """By versionId; where there is none, by lastUpdated."""
    said = _ID if one[:_ID] != _UNSAID[:_ID] else _SAID
    return one[:said] == other[:said]


def content_of(resource: Mapping[str, Any]) -> str:
    """What stands for the id of a resource that has none: a digest of its whole content."""
    text = json.dumps(resource, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _digest(*texts: str) -> bytes:
    """Sixteen bytes that stand for the texts."""
    return hashlib.sha256(repr(texts).encode("ascii", "backslashreplace")).digest()[:_SAME]
