"""The checks of form and of saved outputs: each rule is broken once, and seen."""

from __future__ import annotations

import pytest

from tests.notebooks import form, outputs
from tests.notebooks.samples import (
    CLOSING,
    OPENING,
    chapter,
    code,
    made,
    shows,
    solution,
    text,
    turn,
)

NEXT = made("02-next.ipynb", *[text("# Next")])


def problems(book):
    return [line for line in form.complaints([book, NEXT]) if line.startswith(book.name)]


def test_a_good_chapter_has_no_complaint():
    assert problems(chapter()) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"c2": code("a", execution={"iopub.status.idle": "x"})}, "cell 3: its metadata say when"),
        ({"c4": code("# Your turn")}, "exercise 1 is not followed by a code cell"),
        ({"c5": code("a")}, "exercise 1 has no solution after that"),
        ({"c5": solution("\n")}, "exercise 1 has no solution after that"),
        ({"c5": solution(source_hidden=False)}, "exercise 1 has a solution that is not folded"),
        ({"c8": code("a", tags=["solution"])}, "exercise 2 has a solution that is not folded"),
        ({"c17": text(CLOSING.replace("02-next", "03-next"))}, "no link to 02-next.ipynb"),
    ],
)
def test_a_defect_is_reported(change, complaint):
    assert any(complaint in line for line in problems(chapter(**change)))


def test_an_exercise_at_the_very_end_is_reported():
    question = text("### Exercise 1 · What?")
    book = made("01-sample.ipynb", text(OPENING), question)
    assert any("exercise 1 is not followed" in line for line in problems(book))
    book = made("01-sample.ipynb", text(OPENING), question, turn())
    assert any("exercise 1 has no solution" in line for line in problems(book))


def test_another_kernel_is_reported():
    other = chapter(kernelspec={"name": "xeus"})
    assert "01-sample.ipynb: its kernelspec is not python3" in form.complaints([other])


SECRET = "b3Jk7hT9xQ2mZ5vL8cN1wR4yP6sD0fGa-_HjUe"


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        ({"output_type": "error", "ename": "KeyError"}, "an error is saved: KeyError"),
        ({"output_type": "stream", "name": "stderr", "text": "oh"}, "text on stderr is saved"),
        (
            {"output_type": "stream", "name": "stdout", "text": "a" * 111},
            "a line of 111 characters",
        ),
        (shows(text_plain=["ok\n", "b" * 111]), "a line of 111 characters"),
        (shows(text_plain="at http://127.0.0.1:41505/x"), "a port"),
        (shows(text_html="localhost:8123"), "a port"),
        (shows(text_plain="'/tmp/s4s-x/y'"), "a path of a machine"),
        (shows(text_plain="/home/me/x"), "a path of a machine"),
        (shows(text_plain=r"C:\Users"), "a path of Windows"),
        (shows(text_plain="<object at 0x7f3c1c0a2b10>"), "an address in memory"),
        (shows(text_plain="Authorization: Bearer abcdefghij"), "a token"),
        (shows(text_plain="eyJhbGciOiJIUzI1NiJ9.e30"), "a token"),
        (shows(text_plain="?code=abcdefghijklmnopq"), "a token"),
        (shows(text_plain=f"token {SECRET}"), "what looks like a secret"),
        (shows(image_png="aGk=", text_plain="x"), "a picture (image/png) without alt text"),
        (shows(text_html='<img src="data:image/png;base64,aGk=">'), "1 pictures in HTML without"),
        (shows(text_html='<img alt=" " src="x">'), "1 pictures in HTML without alt"),
        (shows(text_html="<tr>" + "<td>a</td>" * 10 + "</tr>"), "a table of 10 columns"),
        (shows(text_html=f"<tr><th>{'a' * 80}</th><td>{'b' * 71}</td></tr>"), "151 characters"),
    ],
)
def test_what_an_output_must_not_be_is_seen(output, complaint):
    found = outputs.complaints([made("01-a.ipynb", code("x", output))])
    assert any(complaint in line for line in found), found
    assert all(line.startswith("01-a.ipynb, cell 1: ") for line in found)


@pytest.mark.parametrize(
    "output",
    [
        shows(text_plain="2.25.79590156557136257150738527547826643219: 60 instances"),
        shows(text_plain="a" * 200, text_html="<tr><td>a b</td></tr>"),
        shows(text_plain="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
        shows(text_plain="GET /api/fhir/ImagingStudy 200; 3 /work; http://hl7.org/fhir"),
        shows(text_plain="ExplanationOfBenefit/outpatient-12889920372"),
        shows(text_html=f'<img alt="A chest" src="data:image/png;base64,{SECRET}">', image_png="a"),
        {**shows(image_png="a"), "metadata": {"image/png": {"alt": "A chest"}}},
        shows(text_html="<tr>" + "<td>a few short words</td>" * 9 + "</tr>"),
    ],
)
def test_what_an_output_may_be_is_let_pass(output):
    assert outputs.complaints([made("01-a.ipynb", code("x", output))]) == []


def saved_panel(**state):
    state = {"_esm": f"let x = '{SECRET}'", "line": "IPY_MODEL_" + "a1" * 16, **state}
    model = {"model_name": "AnyModel", "state": state}
    state = {"application/vnd.jupyter.widget-state+json": {"state": {"x": model}}}
    return made("01-a.ipynb", code("x"), widgets=state)


def test_a_panel_is_saved_without_secrets_and_paths():
    assert outputs.complaints([saved_panel(title="http://127.0.0.1:8123/api/fhir")]) == []
    for kept in (f"is {SECRET}", {"link": "?state=abcdefghijklmnopq"}, ["/home/me/x"]):
        [complaint] = outputs.complaints([saved_panel(kept=kept)])
        assert complaint.startswith("01-a.ipynb: the saved state of AnyModel holds ")
