"""The check of the glossary: it sees what it is there for, on small samples."""

from __future__ import annotations

import pytest

from tests.notebooks import terms
from tests.notebooks.samples import code, made, text

STUDY = terms.Term(("study",), "Images.", "02", "02-two.ipynb")
UID = terms.Term(("UID",), "A number.", "02", "02-two.ipynb")
EOB = terms.Term(("explanation of benefit", "EOB"), "A paper.", "01", "01-one.ipynb")


def told(*books, about=(STUDY,), **options):
    return terms.complaints(books, about, **options)


def two(*sources):
    return made("02-two.ipynb", text("# Studies"), *(text(source) for source in sources))


def test_a_term_defined_and_then_used_is_in_order():
    assert told(two("A **study** is much.", "Two studies.")) == []


@pytest.mark.parametrize(
    "source",
    ["A study.", "Many studies!", "Study it", "(study)", "a\nstudy's end", "*study*", "> study"],
)
def test_a_term_used_in_an_earlier_notebook_is_seen(source):
    one = made("01-one.ipynb", text("# One"), text(source))
    [complaint] = told(one, two("A **study** is much."))
    assert complaint.startswith("01-one.ipynb, cell 2: ")
    assert complaint.endswith(" is used before notebook 02")


@pytest.mark.parametrize(
    "source",
    [
        "`study.plot()`",
        "```python\nstudy\n```",
        "## The study",
        "[here](study.md)",
        "<https://study.example>",
        "studying understudy study-like",
        "a [study](02-two.ipynb), a study",
        "a [study](glossary.md#s), a study",
    ],
)
def test_code_headings_addresses_other_words_and_pointers_are_no_use(source):
    one = made("01-one.ipynb", text("# One"), text(source), code("study = 1"))
    assert told(one, two("A **study** is much.")) == []


def test_a_pointer_elsewhere_or_after_the_first_use_does_not_help():
    for source in ("a [study](other.md)", "a study, a [study](glossary.md)"):
        one = made("01-one.ipynb", text("# One"), text(source))
        assert len(told(one, two("A **study** is much."))) == 1


def test_a_term_used_earlier_in_its_own_notebook_is_seen():
    assert told(two("A study.", "A **study** is much.")) == [
        "02-two.ipynb, cell 2: 'study' is used before notebook 02"
    ]
    assert len(told(two("This study is a **study**."))) == 1


def test_the_first_cell_may_announce_what_its_notebook_explains():
    book = made("02-two.ipynb", text("# Two\n\n- know a study"), text("A **study**."))
    assert told(book) == []


def test_letter_case_counts_where_a_term_has_capitals():
    one = made("01-one.ipynb", text("# One"), text("A uid and a GUID."))
    assert told(one, two("A **UID** is long."), about=[UID]) == []
    one = made("01-one.ipynb", text("# One"), text("Two UIDs."))
    assert len(told(one, two("A **UID** is long."), about=[UID])) == 1


def test_any_word_of_a_term_may_be_in_the_plural_and_names_are_alike():
    one = made("01-one.ipynb", text("# One"), text("An **explanation of benefit**."))
    for source in ("explanations of benefit", "an EOB", "explanation\nof benefits"):
        nought = made("00-none.ipynb", text("# None"), text(source))
        assert len(told(nought, one, about=[EOB])) == 1


@pytest.mark.parametrize(
    ("source", "defines"),
    [
        ("A **Study** is", True),
        ("**Studies** are", True),
        ("A **study (an exam)** is", True),
        ("**study**:", True),
        ("A *study* is", False),
        ("**a study of it** is", False),
        ("## A **study**\n", False),
        ("`**study**`", False),
    ],
)
def test_a_definition_is_the_term_in_bold_in_running_text(source, defines):
    missing = "02-two.ipynb: does not define 'study' (in bold), as the glossary says"
    assert (missing not in told(two(source))) is defines


def test_a_definition_in_another_notebook_too_is_seen():
    three = made("03-three.ipynb", text("# Three"), text("A **study** again."))
    assert told(two("A **study**."), three) == [
        "03-three.ipynb, cell 2: 'study' is in bold, but the glossary says 02-two.ipynb"
    ]


def test_a_row_that_leads_nowhere_or_stands_twice_is_seen():
    assert told(made("01-one.ipynb", text("# One"))) == [
        "glossary: 'study' leads to 02-two.ipynb, which is not notebook 02"
    ]
    both = told(two("A **study**."), about=[STUDY, STUDY])
    assert both == ["glossary: 'study' has more than one row"]


def test_bold_that_the_glossary_lacks_is_seen_and_labels_are_not():
    assert told(two("A **study**, a **series**.")) == [
        "02-two.ipynb, cell 2: 'series' is in bold, but not in the glossary"
    ]
    labels = "**Time**: 3. **No amount is not zero.** **Approve** and **R**"
    assert told(two(f"A **study**. {labels}")) == []


def test_an_everyday_sense_is_taken_out_by_its_phrase():
    one = made("01-one.ipynb", text("# One"), text("A case study."))
    rest = (one, two("A **study** is much."))
    assert len(told(*rest)) == 1
    assert told(*rest, everyday={"study": "case study"}) == []


def test_the_table_is_read():
    table = "| Term | Meaning | Notebook |\n|---|---|---|\n"
    row = "| **checksum, SHA-256** | A `number`. | [03](03-waiting.ipynb) |\n"
    assert terms.glossary(table + row) == [
        terms.Term(("checksum", "SHA-256"), "A `number`.", "03", "03-waiting.ipynb")
    ]


def test_the_glossary_is_in_the_order_of_the_alphabet_and_every_row_is_read():
    found = terms.read()
    names = [term.names[0].lower() for term in found]
    assert names == sorted(names)
    rows = [line for line in terms.GLOSSARY.read_text().splitlines() if line.startswith("| **")]
    assert len(found) == len(rows)
    assert all(term.meaning.endswith(".") and ". " not in term.meaning for term in found)
