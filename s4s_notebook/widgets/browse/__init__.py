"""The browse panel: one participant's studies and benefits, from a list to a picture.

The browser asks for a page of rows at a time; filtering and sorting happen here. Nothing of a
record is in the widget's state, so nothing of it is saved with a notebook.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets
import traitlets

from ...errors import S4SError
from ...tables import countable
from ...tracebacks import without_variables
from ...wording import count as counted
from ...wording import safe_text
from ..bundle import link, style
from ..comm import Channel, run_action, run_in_thread
from ..progress import progress_panel
from .rows import (
    BENEFITS,
    LINES,
    STUDIES,
    Query,
    View,
    banner,
    commonest_currency,
    filtered,
    kinds,
    line_of_code,
    months,
    page,
    totals,
)

if TYPE_CHECKING:
    import pandas as pd

_VIEWS = {view.name: view for view in (STUDIES, BENEFITS, LINES)}
_MAX_TICKED = 10_000
_NEEDED = ("Patient", "ImagingStudy", "ExplanationOfBenefit")


class Lists(anywidget.AnyWidget):
    """The lists of the panel; their rows travel over ``line`` only."""

    _esm = link("browse/browse.js")
    _css = style("shared/screen_reader.css", "browse/browse.css")
    line = traitlets.Instance(Channel).tag(sync=True, **ipywidgets.widget_serialization)

    def __repr__(self) -> str:
        return "<the lists of a browse panel>"


class ExplorePanel(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """Browse one connection; a study opens in the viewer below the lists.

    Attributes:
        selection: the rows that are ticked, or, where none is, those that pass the filter, as
            a DataFrame with all columns of the table.
    """

    def __init__(self, connection: Any, *, name: str = "me") -> None:
        self._connection = connection
        self._name = name
        self._phase = "loading"
        self._note = ""
        self._frames: dict[str, pd.DataFrame] = {}
        self._table, self._query = STUDIES, Query()
        self._ticked: dict[str, set[str]] = {}
        self._state_lock = threading.Lock()
        self._line = Channel(self._from_browser)
        self._stage = ipywidgets.VBox()
        self._actions: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "state": lambda _: self._send_state(),
            "page": self._page,
            "lines": self._claim_lines,
            "tick": self._tick,
            "open": self._open,
        }
        super().__init__([Lists(line=self._line), self._stage])
        run_in_thread(self._load)

    def __repr__(self) -> str:
        sizes = ", ".join(
            counted(len(self._frames[name]), singular, plural)
            for name, singular, plural in (
                ("studies", "study", "studies"),
                ("benefits", "claim", ""),
            )
            if name in self._frames
        )
        return f"Browse {safe_text(self._connection.holder.base)}: {sizes or self._phase}"

    @property
    def selection(self) -> pd.DataFrame:
        """The rows that are ticked, or else those that pass the filter, with all columns."""
        self._need_frames()
        view = self._table
        frame = self._frames[view.name]
        ticked = self._ticked.get(view.name)
        if ticked:
            return frame[frame[view.key].isin(ticked)]
        return frame.loc[filtered(self._frames[view.name], view, self._query).index]

    # -- loading

    def _load(self) -> None:
        try:
            self._need_frames()
        except S4SError as error:
            self._phase, self._note = "failed", safe_text(error, 600)
        except Exception as error:  # noqa: BLE001 - on a thread, only the panel can tell
            self._phase, self._note = "failed", f"That failed: {type(error).__name__}."
        self._send_state()

    def _need_frames(self) -> None:
        connection = self._connection
        if self._frames:
            return
        participant = connection.participant if connection.patient_id else None
        if participant is None or any(participant.sync_point(kind) is None for kind in _NEEDED):
            connection.load().result()
        self._frames = {
            "patient": connection.patient(),
            "studies": connection.studies(),
            "benefits": connection.benefits(),
        }
        self._phase = "ready"

    # -- answers to the browser

    def _from_browser(self, content: Mapping[str, Any]) -> None:
        action = self._actions.get(str(content.get("do")))
        if action is not None and (self._phase == "ready" or content.get("do") == "state"):
            run_action(partial(action, content), self._problem)

    def _problem(self, words: str) -> None:
        self._line.send({"problem": safe_text(words, 600)})

    def _send_state(self) -> None:
        # Two threads send the state: the one that loads and the one that answers a request. An
        # older state must not be sent after a newer one: "loading" would replace a loaded list.
        with self._state_lock:
            self._line.send({"state": self._state()})

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"phase": self._phase, "note": self._note}
        if self._phase == "ready":
            studies, benefits = self._frames["studies"], self._frames["benefits"]
            state |= {
                "banner": list(banner(self._frames["patient"])),
                "counts": {"studies": len(studies), "benefits": len(benefits)},
                "kinds": {
                    "studies": kinds(studies, STUDIES),
                    "benefits": kinds(benefits, BENEFITS),
                },
                "columns": {name: list(view.columns.values()) for name, view in _VIEWS.items()},
                "numbers": {name: view.numbers() for name, view in _VIEWS.items()},
                "names": {name: list(view.columns) for name, view in _VIEWS.items()},
                "totals": totals(countable(benefits)),
                "months": months(countable(benefits)),
                "currency": commonest_currency(benefits),
            }
        return state

    def _page(self, content: Mapping[str, Any]) -> None:
        view = BENEFITS if content.get("table") == "benefits" else STUDIES
        self._table, self._query = view, Query.from_browser(content)
        rows = filtered(self._frames[view.name], view, self._query)
        code = line_of_code(self._name, view, self._query)
        self._send_page(view, rows, content, code)

    def _claim_lines(self, content: Mapping[str, Any]) -> None:
        claim = str(content.get("claim", ""))
        if "benefit_lines" not in self._frames:
            self._frames["benefit_lines"] = self._connection.benefit_lines()
        lines = self._frames["benefit_lines"]
        code = f"{self._name}.benefit_lines().query({f'claim_id == {claim!r}'!r})"
        self._send_page(LINES, lines[lines["claim_id"] == claim], content, code)

    def _send_page(
        self, view: View, rows: pd.DataFrame, content: Mapping[str, Any], code: str
    ) -> None:
        offset = max(0, int(content.get("offset") or 0))
        shown_rows = page(rows, view, offset)
        answer: dict[str, Any] = {
            "table": view.name,
            "ask": content.get("ask"),
            "offset": offset,
            "total": len(rows),
            "rows": shown_rows,
            "code": safe_text(code, 1000),
        }
        if view is STUDIES:
            answer["can"] = [self._availability(row[0], rows) for row in shown_rows]
        self._line.send({"page": answer})

    def _availability(self, uid: str, rows: pd.DataFrame) -> str:
        """Return "here", "fetch" or "no": whether and how a study can be opened."""
        if self._connection.participant.study_row(uid)[1]:
            return "here"
        offered = rows.loc[rows["study_uid"] == uid, "downloadable"]
        return "no" if len(offered) and offered.eq(False).fillna(value=False).all() else "fetch"

    def _tick(self, content: Mapping[str, Any]) -> None:
        view = BENEFITS if content.get("table") == "benefits" else STUDIES
        keys = content.get("keys")
        if isinstance(keys, list):
            self._ticked[view.name] = {str(key) for key in keys[:_MAX_TICKED]}

    def _open(self, content: Mapping[str, Any]) -> None:
        """Fetch a study and show it below, slice by slice as they come."""
        from ..viewer import view as open_viewer

        uid = str(content.get("study", ""))
        download = self._connection.download(uid)
        self._stage.children = (progress_panel(download), open_viewer(download, snapshot=False))
        code = f"study = await {self._name}.download({uid!r}); study.view()"
        self._line.send({"code": safe_text(code, 200), "problem": ""})
        download.result()
        self._line.send({"changed": True})


@without_variables
def explore(connection: Any) -> ExplorePanel:
    """Return a panel to browse what ``connection`` may read.

    It loads what is not here yet, as ``connection.load()`` does. ``panel.selection`` is what is
    ticked or filtered, as a DataFrame; under each list stands the line of Python that gives it.
    Errors are shown in the panel; nothing is raised.

    Args:
        connection: The result of :func:`s4s_notebook.connect`, approved or not yet.
    """
    return ExplorePanel(connection, name=_name_of(connection))


def _name_of(connection: Any) -> str:
    """Return the notebook's own name of the connection, for the lines of code."""
    from IPython import get_ipython

    shell = get_ipython()
    for name, value in dict(getattr(shell, "user_ns", {})).items():
        if value is connection and not name.startswith("_"):
            return str(name)
    return "me"
