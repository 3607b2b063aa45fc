from hypothesis import given
from hypothesis import strategies as st

from s4s_notebook.store.names import safe_name


@given(st.text(max_size=200), st.text(max_size=200))
def test_two_texts_never_meet_in_one_name(a, b):
    if a != b:
        assert safe_name(a).lower() != safe_name(b).lower()


@given(st.text(max_size=300))
def test_a_name_is_harmless_everywhere(text):
    name = safe_name(text)
    assert 0 < len(name) <= 96
    assert not set(name) & set('/\\:*?"<>|\0 ')
    assert name[0] != "."
    assert name[-1] != "."
    assert name.isascii()


def test_what_is_plain_stays_readable():
    assert safe_name("1.2.840.10008.1") == "1.2.840.10008.1"
    assert safe_name("smart-1288992") == "smart-1288992"
    assert safe_name("http://127.0.0.1:80/fhir") == "http=++127.0.0.1=80+fhir"


def test_names_that_windows_keeps_for_itself_are_changed():
    assert safe_name("con") != "con"
    assert safe_name("nul.dcm") != "nul.dcm"
    assert safe_name("") not in ("", ".")
