"""A process that files a study and kills itself at the n-th call that changes the disk.

``python -m tests.store.killed ROOT N COUNT``: prints nothing, exits 0 when it was not killed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from s4s_notebook.store import Receiver, Store

from . import dicom

HOLDER = "https://holder.example/fhir"
_POINTS = ("writev", "fsync", "replace", "unlink", "mkdir", "ftruncate")


def arm(fatal: int) -> None:
    """Let the process die right before its ``fatal``-th write, fsync, rename, ..."""
    guard, calls = threading.Lock(), [0]

    def deadly(real):
        def call(*args, **options):
            with guard:
                calls[0] += 1
                if calls[0] == fatal:
                    os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)

        return call

    for name in _POINTS:
        setattr(os, name, deadly(getattr(os, name)))


def file_study(root: str, count: int) -> None:
    files = dicom.study_of(count, size=2000)
    with Store(root) as store:
        study = store.study(store.participant(HOLDER, "p1"), dicom.STUDY)
        with study.lock():
            have = study.instances()
            with Receiver(study, lambda path, size: None) as receiver:
                for uid, data in files.items():
                    if uid not in have:
                        receiver.receive(dicom.chunks(data), uid)
            study.record_end(
                expected=count, evidence="transfer", dicom_patient=receiver.dicom_patient
            )


if __name__ == "__main__":
    arm(int(sys.argv[2]))
    file_study(sys.argv[1], int(sys.argv[3]))
