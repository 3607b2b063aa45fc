"""The interrupt button in a real kernel, at each wait that a person meets: the cell comes back."""

from __future__ import annotations

import os
import queue
from pathlib import Path

import pytest
from jupyter_client.manager import start_new_kernel

REPO = Path(__file__).resolve().parents[2]
PATIENCE = 30  # seconds for a kernel to start and a panel to show
BACK = 5  # seconds; every wait below would last minutes

SETUP = """
import s4s_notebook as s4s
sandbox = s4s.Sandbox(retry_after=300).start()
"""
FETCH = """
who = "smart-1288992"
token, images = sandbox.token(who), "/".join(sandbox.wado_url.split("/")[:3])
me = s4s.connect(sandbox.fhir_url, access_token=token, patient=who, allow_origins=[images])
uid = me.studies().study_uid.iloc[0]
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    home = str(tmp_path_factory.mktemp("home"))
    env = os.environ | {"HOME": home, "XDG_CONFIG_HOME": home, "PYTHONPATH": str(REPO)}
    env |= {"JUPYTER_RUNTIME_DIR": home, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    manager, client = start_new_kernel(kernel_name="python3", env=env)
    client.execute_interactive(SETUP, timeout=PATIENCE, output_hook=lambda _: None)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def shown(client, number, sign):
    """Wait until the cell shows something with ``sign`` in it."""
    while True:
        message = client.get_iopub_msg(timeout=PATIENCE)
        if message["parent_header"].get("msg_id") == number and sign in str(message["content"]):
            return


@pytest.mark.fault("G06")
@pytest.mark.parametrize(
    ("cell", "sign"),
    [
        ("me = s4s.connect()", "choose a data holder"),
        ("me = s4s.connect(sandbox.fhir_url)\nme.studies()", "Waiting for your approval"),
        ("await s4s.connect(sandbox.fhir_url).load()", "Waiting for your approval"),
        (
            FETCH.replace("[images]", "[]") + "me.download(uid).result()",
            "May your approval be sent there",
        ),
        (
            FETCH + "await me.download(uid)",
            "next try in",
        ),
        (
            FETCH + "me.download(uid).result()",
            "next try in",
        ),
    ],
    ids=["chooser", "approval", "await approval", "question", "await download", "download"],
)
def test_the_cell_comes_back(kernel, cell, sign):
    manager, client = kernel
    number = client.execute(cell)
    shown(client, number, sign)
    manager.interrupt_kernel()
    try:
        reply = client.get_shell_msg(timeout=BACK)
    except queue.Empty:
        pytest.fail("the cell did not come back")
    assert reply["content"]["status"] == "error"
    assert reply["content"]["ename"] in {"Stopped", "StoppedWaiting"}
    client.execute_interactive("print(1)", timeout=BACK, output_hook=lambda _: None)
