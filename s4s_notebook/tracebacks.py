"""Tracebacks: without variables, since a verbose one prints what the frames of a call hold.

``%xmode Verbose``, ``rich`` and the like show each frame's variables, among them patients, names,
codes and bodies. The public functions empty the frames below them before an error leaves them;
files, lines and the order of the calls stay.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import cached_property, wraps
from inspect import Parameter, isfunction, isgeneratorfunction, signature
from traceback import clear_frames, print_exception
from typing import Any, ParamSpec, TypeVar, cast

from .errors import InvalidArgument, Stopped

P = ParamSpec("P")
T = TypeVar("T")
Class = TypeVar("Class", bound=type)
# What others call an argument of ours.
_SYNONYMS = {"slice": "frame", "slices": "frame", "index": "frame", "level": "window"}
_SPECIAL = ("__init__", "__enter__", "__exit__", "__getitem__", "__iter__", "__len__", "__array__")


def clear_variables(error: BaseException, outer: BaseException | None = None) -> None:
    """Remove the variables from the finished frames of an error and of those it came from.

    Args:
        error: what was raised.
        outer: what the caller handled already; its frames are the caller's, and stay.
    """
    pending, cleared = [error], {id(outer)}
    while pending:
        current = pending.pop()
        if id(current) in cleared:
            continue
        cleared.add(id(current))
        clear_frames(current.__traceback__)
        if isinstance(current, BaseExceptionGroup):
            pending += current.exceptions
        pending += [one for one in (current.__cause__, current.__context__) if one is not None]


def without_variables(function: Callable[P, T]) -> Callable[P, T]:
    """Let no error leave a function with the variables of the frames below."""
    if isgeneratorfunction(function):

        @wraps(function)
        def generate(*args: P.args, **keywords: P.kwargs) -> Iterator[Any]:
            outer = sys.exception()
            try:
                yield from cast(Iterator[Any], function(*args, **keywords))
            except BaseException as error:
                shown = _plainer(error, function, args, keywords)
                del args, keywords
                clear_variables(error, outer)
                if shown is None:
                    raise
            else:
                return
            raise shown

        return cast(Callable[P, T], generate)

    @wraps(function)
    def call(*args: P.args, **keywords: P.kwargs) -> T:
        outer = sys.exception()
        try:
            return function(*args, **keywords)
        except BaseException as error:
            shown = _plainer(error, function, args, keywords)
            del args, keywords
            clear_variables(error, outer)
            if shown is None:
                raise
        raise shown

    return call


def _plainer(
    error: BaseException, function: Callable[..., Any], args: Any, keywords: dict[str, Any]
) -> BaseException | None:
    """Return the error to raise in place of an interrupt or of a wrong argument, or None."""
    if isinstance(error, KeyboardInterrupt) and not isinstance(error, Stopped):
        stopped = Stopped("Stopped. Call again to continue; what arrived so far is kept.")
        return stopped.with_traceback(error.__traceback__)
    if not isinstance(error, TypeError) or isinstance(error, InvalidArgument):
        return None
    form = signature(function)
    try:
        form.bind(*args, **keywords)
    except TypeError as problem:
        names = [name for name in form.parameters if name not in ("self", "cls")]
        return InvalidArgument(
            f"{function.__qualname__}(): {problem}.", hint=_what_to_write(names, form, keywords)
        )
    return None


def _what_to_write(names: list[str], form: Any, keywords: dict[str, Any]) -> str:
    """Return a sentence with the arguments there are, and those that were probably meant."""
    meant = []
    for word in keywords:
        if word not in names:
            near = get_close_matches(word, names, 1, 0.7) or [_SYNONYMS.get(word, "")]
            meant += [f"Write {name}= in place of {word}=. " for name in near if name in names]
    named = [
        f"{name}=" if form.parameters[name].kind is Parameter.KEYWORD_ONLY else name
        for name in names
    ]
    return f"{''.join(meant)}Its arguments are {', '.join(named) or 'none'}."


def traceback() -> None:
    """Print the whole traceback of the last error that a notebook or terminal showed."""
    error = getattr(sys, "last_value", None)
    if error is None:
        print("No error was shown yet.")  # noqa: T201 - what it is for
        return
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        print_exception(error)
        return
    lines = shell.InteractiveTB.structured_traceback(type(error), error, error.__traceback__)
    print(shell.InteractiveTB.stb2text(lines))  # noqa: T201 - as above


def methods_without_variables(cls: Class) -> Class:
    """Let no error leave a public method or property of a class with variables."""
    for name, member in list(vars(cls).items()):
        if name.startswith("_") and name not in _SPECIAL:
            continue
        if isfunction(member):
            setattr(cls, name, without_variables(member))
        elif isinstance(member, property) and member.fget is not None:
            setattr(cls, name, member.getter(without_variables(member.fget)))
        elif isinstance(member, cached_property):
            member.func = without_variables(member.func)
    return cls
