"""Whatever the sandbox says can be downloaded comes whole: a newcomer may press on any of it."""

from __future__ import annotations

import s4s_notebook as s4s


def test_every_study_that_can_be_downloaded_comes_whole():
    with s4s.Sandbox(retry_after=0) as sandbox:
        for patient in sandbox.patients[:4]:  # the fifth one's volumes: test_phantoms.py
            with sandbox.connect(patient=patient) as me:
                studies = me.studies()
                wanted = studies[studies["downloadable"].fillna(value=True)]
                came = me.download(wanted).result()
            assert [len(study.paths) for study in came] == list(wanted["instance_count"])
            assert len(came) >= len(studies) - 1
