"""Cards: what an object shows of itself in a notebook, as HTML beside its text.

They use JupyterLab's colour variables, so that they are legible in light and dark, and hold no
name of a person and no identifier of a patient.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable

_BOX = (
    "display:inline-flex;gap:16px;align-items:flex-start;max-width:46em;padding:10px 14px;"
    "border:1px solid var(--jp-border-color1,#bbb);border-radius:3px;"
    "background:var(--jp-layout-color1,#fff);color:var(--jp-ui-font-color1,#000);"
    "font-family:var(--jp-ui-font-family,sans-serif);overflow-wrap:anywhere"
)
_LEFT = "text-align:left;vertical-align:top;padding:1px 14px 1px 0;white-space:nowrap"
_RIGHT = "text-align:left;vertical-align:top;padding:1px 0"


def card(
    title: str, facts: Iterable[tuple[str, str]], *, picture: bytes = b"", alt: str = ""
) -> str:
    """Return the HTML of a card.

    Args:
        title: what it is, in a few words.
        facts: a label and its text each; those without text are left out.
        picture: a PNG.
        alt: what the picture shows, for those who cannot see it.

    >>> card("Store", [("Where", "a & b"), ("Empty", "")]).count("<tr>")
    1
    """
    rows = "".join(
        f'<tr><th scope="row" style="{_LEFT}">{html.escape(label)}</th>'
        f'<td style="{_RIGHT}">{html.escape(text)}</td></tr>'
        for label, text in facts
        if text
    )
    image = ""
    if picture:
        source = base64.b64encode(picture).decode()
        image = (
            f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{source}" '
            'style="width:128px;height:auto;background:black;flex:none">'
        )
    return (
        f'<div class="s4s-card" role="group" aria-label="{html.escape(title)}" style="{_BOX}">'
        f"{image}<div><strong>{html.escape(title)}</strong>"
        f'<table style="margin:4px 0 0;border:0;color:inherit"><tbody>{rows}</tbody></table>'
        "</div></div>"
    )
