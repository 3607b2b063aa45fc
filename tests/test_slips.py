"""Slips and expected events: what a notebook shows of each (8 lines at most), and a script."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from jupyter_client.manager import start_new_kernel

REPO = Path(__file__).resolve().parents[1]
SETUP = """
import s4s_notebook as s4s
from s4s_notebook.sandbox import approve
from s4s_notebook.imaging import read
from pydicom.data import get_testdata_file
sandbox = s4s.Sandbox(retry_after=0).start()
study = read(get_testdata_file("CT_small.dcm"))
me, revoked = sandbox.connect(), sandbox.connect()
other = s4s.Connection(sandbox.fhir_url)
frame = me.studies()
reply = approve(other.authorize_url(), patient="smart-1288992", decline=True)
"""
WHOLE = "The whole traceback: s4s.traceback()"
WINDOW = 'Next: Write window="auto", window=(40, 400), or the name of one that there is.'
PLOT = (
    "Its arguments are series, frame, window=, name=, columns=, size=, colorbar=, letters=, "
    "scale=, overlays=."
)
ADDRESS = (
    "Next: Give the FHIR base address of the holder, as in https://holder.example/fhir, "
    "or pass access_token= or patient= where it offers no sign-in."
)
# What was typed, and the lines shown below it; the last line is WHOLE unless there is one only.
SLIPS = {
    "no address": (
        's4s.connect("holder")',
        "DiscoveryError: This is not a web address of a holder.",
        ADDRESS,
    ),
    "nobody there": (
        's4s.connect("http://127.0.0.1:9/fhir", waits=s4s.WaitPolicy(tries=1))',
        "HolderUnavailable: The holder cannot be reached: Connection refused.",
        "Request: GET http://127.0.0.1:9/fhir/.well-known/smart-configuration",
        "Next: Check the address and your network, then call again; nothing is lost.",
    ),
    "an option misspelled": (
        's4s.connect("sandbox", acces_token="x", patient="x")',
        "InvalidArgument: connect(): got an unexpected keyword argument 'acces_token'.",
        "Next: Write access_token= in place of acces_token=. Its arguments are url, patient=, "
        "access_token=, client_id=, client_secret=, redirect_uri=, scope=, store=, "
        "allow_origins=, waits=, remember=, legacy=, overlap=, page_size=, read_referred=.",
    ),
    "declined": (
        "other.finish(reply)",
        "AccessDenied: The request was declined.",
        "Next: Nothing was shared. Authorise again if that was not what you wanted.",
    ),
    "cancelled": (
        "work = sandbox.connect().load(); work.cancel(); work.result()",
        "Cancelled. Call again to continue; what arrived so far is kept.",
    ),
    "interrupted": (
        "import threading, _thread; threading.Timer(0.5, _thread.interrupt_main).start(); "
        "s4s.Connection(sandbox.fhir_url).wait_authorized()",
        "Stopped. Call again to continue; what arrived so far is kept.",
    ),
    "slice= for frame=": (
        "study.plot(slice=3)",
        "InvalidArgument: Study.plot(): got an unexpected keyword argument 'slice'.",
        f"Next: Write frame= in place of slice=. {PLOT}",
    ),
    "an unknown window": (
        'study.plot("lungs")',
        "InvalidArgument: No window is called 'lungs'. There are: auto, lung, mediastinum, "
        "soft tissue, abdomen, liver, bone, brain, subdural, angio.",
        WINDOW,
    ),
    "an unknown window in the viewer": (
        'study.view(window="lungs")',
        "InvalidArgument: No window is called 'lungs'. There are: auto, lung, mediastinum, "
        "soft tissue, abdomen, liver, bone, brain, subdural, angio.",
        WINDOW,
    ),
    "a slice that is not there": (
        "study.plot(frame=1000)",
        "OutOfRange: There is no slice 1000: the series has 1 slice.",
        "Next: They are counted from 0 to 0.",
    ),
    "a series that is not there": (
        "study.plot(7)",
        "OutOfRange: There is no series 7: the study has 1 series.",
        "Next: They are counted from 0; study.series lists them.",
    ),
    "a number for a study": (
        "me.download(5)",
        "InvalidArgument: download() takes studies; a int without study_uid names no study.",
        "Next: Write download(frame), download(frame.iloc[0]) or download(uid), "
        "with frame = me.studies().",
    ),
    "no UID": (
        'me.download("1.2.x")',
        "InvalidUID: '1.2.x' is no DICOM UID.",
        "Next: Nothing was sent. A UID has digits and dots, at most 64 characters.",
    ),
    "no path": (
        's4s.read("no/such/folder")',
        "InvalidDICOM: There is no file no/such/folder.",
        "Next: Check the path.",
    ),
    "an unknown study": (
        'me.download("1.2.3").result()',
        "NotFound: The holder lists no study 1.2.3 for this patient.",
        "Next: Check the patient id or the study UID.",
    ),
    "revoked twice": (
        "revoked.revoke(); revoked.revoke()",
        "AuthorizationError: There is no approval to revoke.",
        "Next: Authorise again.",
    ),
}
# What works, and used not to; each cell shows its last value.
WORKS = {
    "a column of a frame": ("len(await me.download(frame.study_uid[:2]))", "2"),
    "a window first": (
        'study.plot("lung").alt.split(". ")[1]',
        "'Window lung, center -600, width 1500 HU'",
    ),
    "a montage": ('study.plot("montage").alt[:33]', "'Medical image: CT, axial, slice 1'"),
    "the viewer's window": ('study.view(window="lung")', "First slice: CT · image 1"),
}


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    home = str(tmp_path_factory.mktemp("home"))
    env = os.environ | {"HOME": home, "XDG_CONFIG_HOME": home, "PYTHONPATH": str(REPO)}
    env |= {"JUPYTER_RUNTIME_DIR": home, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    manager, client = start_new_kernel(kernel_name="python3", env=env)
    assert not outputs(client, SETUP)
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def outputs(client, cell):
    """Run a cell; return the text that it shows, errors without their colours."""
    shown = []

    def collect(message):
        content = message["content"]
        if message["msg_type"] == "error":
            shown.append(re.sub(r"\x1b\[[\d;]*m", "", "\n".join(content["traceback"])))
        elif message["msg_type"] == "stream":
            shown.append(content["text"])
        elif "data" in content:
            shown.append(content["data"].get("text/plain", ""))

    client.execute_interactive(cell, timeout=60, output_hook=collect)
    return shown


@pytest.mark.parametrize("slip", SLIPS)
def test_a_notebook_shows_a_few_lines(kernel, slip):
    cell, *lines = SLIPS[slip]
    shown = outputs(kernel, cell)[-1]
    expected = "\n".join(lines if len(lines) == 1 else [f"----> 1 {cell}", *lines, WHOLE])
    assert shown == expected
    assert len(shown.splitlines()) <= 8


@pytest.mark.parametrize("slip", WORKS)
def test_it_works(kernel, slip):
    cell, value = WORKS[slip]
    assert outputs(kernel, cell)[-1] == value


def test_the_whole_traceback_is_one_call_away(kernel):
    outputs(kernel, "study.plot(frame=1000)")
    [shown] = outputs(kernel, "s4s.traceback()")
    assert "in Series.plot" in re.sub(r"\x1b\[[\d;]*m", "", shown)
    assert "OutOfRange" in shown


SCRIPT = """
import json, sys, traceback
for cell in json.loads(sys.argv[1]):
    try:
        exec(cell)
    except BaseException:
        print(traceback.format_exc(), end="\\0")
"""


def test_a_script_shows_the_traceback_and_the_same_sentences():
    cells = json.dumps([cell for cell, *_ in SLIPS.values()])
    run = subprocess.run(
        [sys.executable, "-c", SETUP + SCRIPT, cells], capture_output=True, text=True, check=True
    )
    shown = run.stdout.split("\0")[:-1]
    assert len(shown) == len(SLIPS)
    for text, (_, *lines) in zip(shown, SLIPS.values(), strict=True):
        assert text.startswith("Traceback (most recent call last):")
        for line in lines:
            words = line.removesuffix(" Call again to continue; what arrived so far is kept.")
            assert words in text


def test_the_command_ends_in_silence_where_nobody_reads_on():
    reader, writer = os.pipe()
    os.close(reader)
    run = subprocess.run(
        [sys.executable, "-m", "s4s_notebook", "--help"], env=os.environ | {"PYTHONUNBUFFERED": ""},
        stdout=writer, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writer)
    assert run.returncode == 128 + 13
    assert not run.stderr
