"""What in Markdown is text that one reads, and what is code, a heading, a link, a term."""

from __future__ import annotations

import re
from dataclasses import dataclass

FENCE = re.compile(r"^ {0,3}(```+|~~~+)[^\n]*\n.*?^ {0,3}\1\s*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(.+?)\1", re.DOTALL)
HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*\s*$", re.MULTILINE)
LINK = re.compile(r"!?\[((?:[^\[\]]|\[[^\]]*\])*)\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
AUTOLINK = re.compile(r"<([a-z]+://[^>\s]+)>")
HTML_LINK = re.compile(r"""<(?:a|img)\s[^>]*?\b(?:href|src)=["']([^"']+)["']""", re.IGNORECASE)
BOLD = re.compile(r"\*\*(?=\S)(.+?)(?<=\S)\*\*", re.DOTALL)


@dataclass(frozen=True)
class Link:
    """A link or a picture; ``text`` is what one reads, or the picture's alt text."""

    text: str
    target: str
    is_picture: bool = False


def without_code(markdown: str) -> str:
    """The text with code blanked out, so that positions stay."""
    for pattern in (FENCE, CODE):
        markdown = pattern.sub(lambda found: _blank(found[0]), markdown)
    return markdown


def reading(markdown: str) -> str:
    """The running text: code, headings and the addresses of links blanked out."""
    text = HEADING.sub(lambda found: _blank(found[0]), without_code(markdown))
    text = AUTOLINK.sub(lambda found: _blank(found[0]), text)
    return LINK.sub(
        lambda found: found[0][: found.start(2) - found.start()].ljust(len(found[0])), text
    )


def code_words(markdown: str) -> list[str]:
    """Every identifier in code, inline or fenced."""
    spans = [found[0] for found in FENCE.finditer(markdown)]
    rest = FENCE.sub("", markdown)
    spans += [found[2] for found in CODE.finditer(rest)]
    return [word for span in spans for word in re.findall(r"[^\W\d]\w*", span)]


def headings(markdown: str) -> list[str]:
    """The headings' texts, marks of emphasis and code included."""
    return [found[2] for found in HEADING.finditer(FENCE.sub("", markdown))]


def bold(markdown: str) -> list[tuple[int, str]]:
    """Position and text of everything in bold in the running text."""
    text = HEADING.sub(lambda found: _blank(found[0]), without_code(markdown))
    return [(found.start(), " ".join(found[1].split())) for found in BOLD.finditer(text)]


def links(markdown: str) -> list[Link]:
    """Every link, picture and bare address in angle brackets, in no code."""
    text = without_code(markdown)
    found = [Link(" ".join(m[1].split()), m[2], m[0].startswith("!")) for m in LINK.finditer(text)]
    # A picture within a link, as a badge is: its own link is inside the other's text.
    inner = [link for outer in found if not outer.is_picture for link in links(outer.text)]
    found += [Link(m[1], m[1]) for m in AUTOLINK.finditer(text)]
    return found + inner + [Link(m[1], m[1]) for m in HTML_LINK.finditer(text)]


def anchor(heading: str) -> str:
    """The fragment under which a code host shows a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
    text = re.sub(r"[*~]|(?<!\w)_|_(?!\w)", "", text)
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)
