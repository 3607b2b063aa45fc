"""One instance on disk: how long it is and its hash, what it says it is, whether it belongs."""

from __future__ import annotations

import hashlib
import mmap
import os
from typing import NamedTuple

from .. import private_files as system
from ..fhir.resources import is_uid
from .header import TooShort, executable, read_header
from .names import safe_name

_BLOCK = 1 << 20
_HEAD = 1 << 15  # bytes; mapping every file costs more than all else that is done to it


class Filed(NamedTuple):
    """An instance that is checked, synced and recorded; ``size`` in bytes, ``sha256`` in hex."""

    series_uid: str
    sop_uid: str
    name: str
    size: int
    sha256: str
    part: str = ""


def measure(folder: system.Folder, name: str) -> tuple[int, str]:
    """Size and SHA-256 of a file, in constant memory."""
    with open(folder.open(name), "rb", buffering=0) as file:
        digest = hashlib.sha256()
        size = 0
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()


def identify(fd: int, study_uid: str, size: int, digest: str) -> tuple[Filed, str, str]:
    """Read what a file says it is: (where it belongs, why it does not, its Patient ID).

    Raises:
        InvalidDICOM: not a DICOM file.
        MalformedDICOM: it contradicts itself.
    """
    os.lseek(fd, 0, os.SEEK_SET)
    head = memoryview(os.read(fd, min(size, _HEAD)))
    try:
        header = read_header(head, size)
    except TooShort:  # rare, as it needs long sequences before Study Instance UID
        header = read_header(memoryview(mmap.mmap(fd, size, access=mmap.ACCESS_READ)))
    fault = ""
    if executable(bytes(head[:128])):
        fault = "program"
    elif not (is_uid(header.sop_uid) and is_uid(header.series_uid)):
        fault = "uid-unusable"
    elif header.study_uid != study_uid:
        fault = "other-study"
    elif header.meta_sop_uid not in ("", header.sop_uid):
        fault = "uids-disagree"
    elif header.meta_sop_class not in ("", header.sop_class):
        fault = "classes-disagree"
    name = f"{safe_name(header.sop_uid)}.dcm"
    return Filed(header.series_uid, header.sop_uid, name, size, digest), fault, header.patient_id
