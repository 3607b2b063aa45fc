"""The one page that a browser sees between the notebook and the holder."""

from __future__ import annotations

import html

STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:34em;margin:15vh auto;padding:0 1em}"
    "h1{font-size:1.4em}"
)

HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def page(title: str, text: str, *, go_to: str = "") -> str:
    """Return a page without scripts, links or forms; ``go_to`` makes it lead on by itself."""
    refresh = f'<meta http-equiv="refresh" content="0;url={html.escape(go_to)}">' if go_to else ""
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">{refresh}'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main><h1>{html.escape(title)}</h1><p>{html.escape(text)}</p></main></body></html>"
    )


GO_BACK = "You can close this page and go back to your notebook."
ENDINGS = {
    "done": ("Approved", f"The reply has reached your notebook. {GO_BACK}"),
    "declined": ("Not approved", f"Nothing was shared. {GO_BACK}"),
    "unknown": (
        "This sign-in is over",
        "It was answered already, took too long, or its notebook was closed. "
        "Go back to your notebook and press Authorise again.",
    ),
}
