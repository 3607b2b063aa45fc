"""What a connection can be given: the one list of options of ``s4s.connect``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Literal, ParamSpec, TypeVar

from ..errors import InvalidArgument
from ..http.retry import WaitPolicy
from ..store.store import Store

P = ParamSpec("P")
Options = TypeVar("Options")
T = TypeVar("T")

MIN_OVERLAP = 600.0  # seconds: resources become visible after their lastUpdated


@dataclass(frozen=True)
class ConnectOptions:
    """The options of one connection; :func:`s4s_notebook.connect` describes each.

    Secrets and the patient are left out of its text.
    """

    url: str | None = None
    _: KW_ONLY
    patient: str | None = field(default=None, repr=False)
    access_token: str | None = field(default=None, repr=False)
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    redirect_uri: str | None = None
    scope: str | None = None
    store: Store | Path | str | None = None
    allow_origins: Sequence[str] = ()
    waits: WaitPolicy | None = None
    remember: bool | Literal["file"] = False
    legacy: bool = False
    overlap: float = MIN_OVERLAP
    page_size: int | None = None
    read_referred: bool = True

    def __post_init__(self) -> None:
        if not self.overlap >= MIN_OVERLAP:
            raise InvalidArgument(f"overlap is {MIN_OVERLAP:g} seconds at least.")
        if self.page_size is not None and self.page_size < 1:
            raise InvalidArgument("page_size is 1 at least.")


def accepts(options: Callable[P, Options]) -> Callable[[Callable[[Options], T]], Callable[P, T]]:
    """Let a function of an options object take each option as a keyword, with their signature.

    An option is then declared in one place, the options class.
    """

    def decorate(function: Callable[[Options], T]) -> Callable[P, T]:
        @wraps(function)
        def wrapper(*args: P.args, **keywords: P.kwargs) -> T:
            return function(options(*args, **keywords))

        returns = signature(function).return_annotation
        wrapper.__signature__ = signature(options).replace(  # type: ignore[attr-defined]
            return_annotation=returns
        )
        return wrapper

    return decorate


def spells_out(*left_out: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Give a function that passes ``**options`` on a signature with each option by its name.

    Args:
        *left_out: options that the function gives itself.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        own = list(signature(function).parameters.values())[:-1]
        names = {parameter.name for parameter in own} | {"self", *left_out}
        further = [
            option.replace(kind=Parameter.KEYWORD_ONLY)
            for name, option in signature(ConnectOptions).parameters.items()
            if name not in names
        ]
        form = signature(function).replace(parameters=[*own, *further])
        function.__signature__ = form  # type: ignore[attr-defined]
        return function

    return decorate
