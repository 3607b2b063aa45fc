"""What may be shown of a request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4s_notebook.http import redact


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h.example/fhir", "https://h.example/fhir"),
        (
            "https://h.example/ImagingStudy?patient=smart-1288992&_lastUpdated=gt2016-04-16&_count=50",
            "https://h.example/ImagingStudy?patient=***&_lastUpdated=gt2016-04-16&_count=50",
        ),
        ("https://u:pw@h.example/x?code=abc#access_token=t", "https://h.example/x?code=***"),
        ("https://h.example/x?_count=<script>", "https://h.example/x?_count=***"),
        ("/relative?state=1", "/relative?state=***"),
        ("https://h.example/a\r\nb", "https://h.example/a  b"),
        ("http://[Ann Example", "http://***"),
        ("http://[", "http://***"),
        ("http://[/studies/1.2?a=b", "http://***/studies/1.2?a=***"),
        ("Ann Example", "***"),
        ("Ann Example://x/y", "***://x/y"),
        ("Patient/smart-1?x=1", "Patient/***?x=***"),
        ("https://h.example/f/Patient/smart-1/$x", "https://h.example/f/Patient/***/$x"),
        ("https://h.example/?X-Amz-Signature=abc", "https://h.example/?X-Amz-Signature=***"),
    ],
)
def test_addresses(url: str, shown: str) -> None:
    assert redact.url(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("all is well", "all is well"),
        ("token Bearer abc.def-1 is bad", "token Bearer *** is bad"),
        ('{"access_token": "abc", "x": 1}', '{"access_token": "***", "x": 1}'),
        ("redirect?code=abc&state=def", "redirect?code=***&state=***"),
        ("eyJhbGciOi.eyJzdWIi.sig here", "*** here"),
        ("a\x00b\u202ec\nd", "a b c d"),
    ],
)
def test_foreign_text(text: str, shown: str) -> None:
    assert redact.text(text) == shown


@pytest.mark.fault("A07")
def test_long_text_is_cut() -> None:
    assert len(redact.text("x" * 10_000_000)) == 500
    assert len(redact.url("https://h.example/" + "x" * 10_000 + "?" + "a=1&" * 1000)) < 700


@given(st.text(max_size=200), st.text(min_size=3, max_size=30))
def test_a_value_in_a_query_is_never_shown(name: str, value: str) -> None:
    secret = f"Zq{value.encode().hex()}"
    shown = redact.url(f"https://h.example/x?{name.replace('#', '')}&patient={secret}")
    assert secret not in shown
    assert shown.isprintable()
