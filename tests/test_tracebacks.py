"""Verbose tracebacks of the public calls: what they show of a person, a secret, a body: nothing."""

from __future__ import annotations

import io
import json
import traceback
from collections.abc import Callable
from functools import cached_property
from inspect import isfunction
from typing import Any

import pandas as pd
import pytest
import rich.console
import rich.traceback
from IPython.core.ultratb import VerboseTB
from pydicom import dcmread
from pydicom.data import get_testdata_file

import s4s_notebook as s4s
from s4s_notebook.imaging.frame import Frame
from s4s_notebook.imaging.instance import Instance, render
from s4s_notebook.imaging.series import Series
from s4s_notebook.imaging.volume import Volume
from s4s_notebook.imaging.volume_stack import VolumeStack
from s4s_notebook.tables.builder import Builder
from s4s_notebook.tracebacks import clear_variables, without_variables
from tests.faultserver.holder import Answer, configuration, holder
from tests.store import dicom

PATIENT, NAME, CODE, SECRET, BODY = "pat-7319", "Zebrowska", "c0de-5512", "s3cret-88", "b0dy-4421"
PERSONAL = (PATIENT, NAME, CODE, SECRET, BODY)
RESOURCE = {"resourceType": "Patient", "id": PATIENT, "name": [{"family": NAME}], "x": BODY}
WORDS = {
    "resourceType": "OperationOutcome",
    "issue": [
        {"severity": "error", "code": "exception", "diagnostics": f"{NAME} {BODY} {PATIENT}"}
    ],
}
FAULTS = {
    "refused": Answer(WORDS, 403),
    "failed": Answer(WORDS, 500),
    "cut": Answer(f'{{"{NAME}": "{BODY}'.encode()),
    "a page": Answer(f"<html>{NAME} {BODY} {PATIENT}</html>".encode()),
    "another type": Answer(RESOURCE),
    "no link": Answer(
        {
            "resourceType": "Bundle",
            "type": "searchset",
            "entry": [{"resource": RESOURCE}],
            "link": [{"relation": "next", "url": f"http://[{NAME}"}],
        }
    ),
    "elsewhere": Answer(b"", 302, {"Location": f"https://e.example/Patient/{PATIENT}?q={BODY}"}),
    "later": Answer(WORDS, 503, {"Retry-After": "86400"}),
}
QUICK = s4s.WaitPolicy(budget=0.5, floor=0.0, first=0.0, jitter=0.0, tries=1)


def shown(error: BaseException, *, every_way: bool) -> str:
    """Return what verbose tracebacks print, from the first frame of the package on.

    The first way shows every variable of every frame; the others are slow, and take a part of it.
    """
    first = error.__traceback__
    while first is not None and "s4s_notebook" not in first.tb_frame.f_code.co_filename:
        first = first.tb_next
    assert first is not None
    parts = [*traceback.TracebackException(type(error), error, first, capture_locals=True).format()]
    if not every_way:
        return "".join(parts)
    parts.append(VerboseTB().text(type(error), error, first))
    out = io.StringIO()
    console = rich.console.Console(file=out, width=2000)
    console.print(
        rich.traceback.Traceback.from_exception(
            type(error), error, first, show_locals=True, locals_max_string=None, width=2000
        )
    )
    return "".join(parts) + out.getvalue()


def outcome(call: Callable[[], Any], *, every_way: bool = False) -> str:
    """Return "" where the call succeeds, else the name of its error, which shows nothing."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - any error at all
        text = shown(error, every_way=every_way)
        assert [word for word in PERSONAL if word in text] == [], text
        return type(error).__name__
    return ""


@pytest.fixture
def server():
    with holder() as server:
        server.on("/fhir/.well-known/smart-configuration", Answer(configuration(server.origin)))
        server.on("/register", Answer({"client_id": "app", "client_secret": SECRET}, 201))
        yield server


TABLES = ("patient", "coverage", "studies", "series", "benefits", "benefit_lines", "diagnoses")
CALLS: dict[str, Callable[[Any], Any]] = {
    **{name: lambda me, name=name: getattr(me, name)() for name in TABLES},
    "procedures": lambda me: me.procedures(),
    "adjudications": lambda me: me.adjudications(),
    "table": lambda me: me.table("care_team"),
    "resources": lambda me: me.resources("ImagingStudy"),
    "load": lambda me: me.load().result(10),
    "update": lambda me: me.update(),
    "download": lambda me: me.download(dicom.STUDY).result(10),
}
#: They send nothing, or are in the tests below.
OTHERS = {
    *("authorize_url", "cancel", "close", "finish", "forget", "history", "holder", "notes"),
    *("participant", "patient_id", "problems", "revoke", "status", "unread", "wait_authorized"),
}


def test_every_public_call_of_a_connection_is_walked():
    public = {name for name in dir(s4s.Connection) if not name.startswith("_")}
    assert public <= {*CALLS, *OTHERS}


@pytest.mark.fault("L05")
@pytest.mark.parametrize("fault", FAULTS)
def test_no_call_of_a_connection_shows_whose_data_they_were(server, fault):
    server.on("*", FAULTS[fault])
    with s4s.Connection(
        server.base, patient=PATIENT, access_token=SECRET, waits=QUICK
    ) as connection:
        outcomes = {
            name: outcome(lambda call=call: call(connection)) for name, call in CALLS.items()
        }
        if fault != "another type":  # of which a search is at its end, without a result
            assert "" not in outcomes.values(), outcomes
        assert any(outcomes.values())
        outcome(connection.studies, every_way=True)


@pytest.mark.fault("L05")
def test_no_call_of_a_sign_in_shows_a_code_or_a_secret(server):
    back = f"http://127.0.0.1/s4s/callback?code={CODE}"
    with s4s.Connection(server.base, store=None, waits=QUICK) as me:
        state = me.authorize_url().partition("state=")[2].partition("&")[0]
        replies = [
            back,
            f"{back}&state=x{SECRET}",
            f"{back}&state={state}&iss=https://{NAME}.example",
        ]
        # The host that a reply names is part of no message either.
        assert [outcome(lambda reply=reply: me.finish(reply)) for reply in replies] == (
            ["StateMismatch"] * 3
        )
        server.on(
            "/token", Answer({"error": "invalid_grant", "description": f"{NAME} {CODE}"}, 400)
        )
        assert outcome(lambda: me.finish(f"{back}&state={state}")) == "TokenRefused"
        assert state not in repr(me)
        for name in ("participant", "problems", "revoke", "studies"):
            member = getattr(type(me), name)
            call = member.fget if isinstance(member, property) else member
            assert outcome(lambda call=call: call(me)), name
        assert outcome(lambda: me.wait_authorized(0.01)) == "TimeoutError"
    token = {"access_token": SECRET, "token_type": "bearer", "patient": PATIENT, "scope": "s"}
    server.on("/token", Answer({**token, "refresh_token": f"{SECRET}2"}))
    server.on(
        "/revoke", Answer({"error": "invalid_request", "description": f"{SECRET} {NAME}"}, 400)
    )
    with s4s.Connection(server.base, waits=QUICK) as me:
        state = me.authorize_url().partition("state=")[2].partition("&")[0]
        me.finish(f"{back}&state={state}")
        assert outcome(me.revoke, every_way=True) == "TokenRefused"
    server.on("/register", Answer({"error": "invalid_client_metadata", "x": BODY}, 400))
    with s4s.Connection(server.base, waits=QUICK) as me:
        assert outcome(me.authorize_url) == "AccessDenied"


@pytest.mark.fault("L05")
def test_connect_shows_neither_patient_nor_token(server):
    for url in ("http://127.0.0.1:1/fhir", "https://h/fhir?x", f"{server.base}/Patient"):
        options = {"patient": PATIENT, "access_token": SECRET, "waits": QUICK}
        outcome(lambda url=url, options=options: s4s.connect(url, **options))
    with s4s.connect(server.base, patient=f"{NAME}/../x", access_token=SECRET) as me:
        assert outcome(me.studies)
    assert outcome(lambda: s4s.connect(server.base, access_token=f"{SECRET}\n{SECRET}"))


@pytest.mark.fault("L05")
def test_no_call_of_a_store_or_of_the_tables_shows_a_row(tmp_path, server):
    with s4s.Store(tmp_path / "store") as store:
        store.participant(server.base, PATIENT)
        for name in (name for name in dir(store) if name in s4s.tables.TABLES):
            assert outcome(getattr(store, name)), name
        assert outcome(lambda: store.table(NAME.lower()[:1])) == "InvalidArgument"
        assert outcome(lambda: store.study(store.participant(server.base, PATIENT), "x"))
        assert outcome(lambda: store.purge(participant=(server.base, PATIENT, 1)))
    tables, frame = s4s.tables, pd.DataFrame({"study": [NAME]})

    def broken():
        yield RESOURCE
        raise RuntimeError

    for name in (*tables.TABLES, *tables.LONG_TABLES):
        assert outcome(lambda name=name: getattr(tables, name)(broken())) == "RuntimeError"
    for call in (
        lambda: tables.build(("x",), [RESOURCE]),
        lambda: tables.unread(broken()),
        lambda: tables.builder("patients").add(broken()),
        lambda: tables.complete_series(frame, broken()),
        lambda: s4s.link(frame, frame),
    ):
        assert outcome(call)


@pytest.mark.fault("L05")
def test_no_call_of_a_study_shows_its_headers(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(json.dumps(RESOURCE).encode() * 9)
    assert outcome(lambda: s4s.read(path)) == "InvalidDICOM"
    assert outcome(lambda: s4s.read([tmp_path / "none"]))
    dataset = dcmread(get_testdata_file("CT_small.dcm"))
    dataset.PatientName, dataset.PatientID, dataset.Rows = NAME, PATIENT, 5000
    dataset.save_as(path)
    study = s4s.read(path)
    series = study.series[0]
    for call in (
        lambda: study.plot(99),
        lambda: study.plot(window="none"),
        lambda: study.tags(99),
        lambda: series.volume(99),
        lambda: series.plot(99),
        lambda: series.suv(),
        lambda: series.save_png(path),
        lambda: series.frames[0].values(),
        lambda: render(dataset, window=NAME[:0]),
        lambda: Volume(()),
    ):
        assert outcome(call)


def test_every_public_class_and_function_is_guarded():
    classes = (s4s.Connection, s4s.Store, s4s.Study, Series, Volume, VolumeStack, Frame, Instance)
    for cls in (*classes, Builder):
        for name, member in vars(cls).items():
            if name.startswith("_"):
                continue
            function = getattr(member, "fget", getattr(member, "func", member))
            if isfunction(function) or isinstance(member, property | cached_property):
                assert hasattr(function, "__wrapped__"), f"{cls.__name__}.{name}"
    public = [s4s.connect, s4s.read, s4s.link, s4s.timeline, s4s.check, s4s.explore]
    for function in (*public, *(getattr(s4s.tables, name) for name in s4s.tables.TABLES)):
        assert hasattr(function, "__wrapped__"), function


def test_the_callers_errors_keep_their_variables_and_the_way_stays():
    @without_variables
    def inner(secret):
        raise KeyError

    def helper(mine):
        raise LookupError

    try:
        helper("visible")
    except LookupError as outer:
        with pytest.raises(KeyError) as caught:
            inner(SECRET)
        frames = [*traceback.walk_tb(outer.__traceback__)]
        assert frames[-1][0].f_locals == {"mine": "visible"}
    frames = [*traceback.walk_tb(caught.tb)]
    assert (frames[-1][0].f_code.co_name, frames[-1][0].f_locals) == ("inner", {})


def test_every_error_of_a_chain_and_a_group_is_emptied():
    def fail(word):
        raise KeyError

    errors = []
    for word in (NAME, BODY, CODE):
        try:
            fail(word)
        except KeyError as error:
            errors.append(error)
    group = ExceptionGroup("several", errors[:2])
    group.__cause__ = errors[2]
    clear_variables(group)
    text = "".join(
        line
        for error in errors
        for line in traceback.format_list(
            traceback.StackSummary.extract(
                traceback.walk_tb(error.__traceback__.tb_next), capture_locals=True
            )
        )
    )
    assert [word for word in (NAME, BODY, CODE) if word in text] == []
