"""Tracebacks without variables: a verbose one prints what the frames of a call hold.

``%xmode Verbose``, ``rich`` and the like show each frame's variables, among them patients, names,
codes and bodies. The public functions empty the frames below them before an error leaves them;
files, lines and the order of the calls stay.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from functools import cached_property, wraps
from inspect import isfunction, isgeneratorfunction
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")
Class = TypeVar("Class", bound=type)
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
        traceback.clear_frames(current.__traceback__)
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
                del args, keywords
                clear_variables(error, outer)
                raise

        return cast(Callable[P, T], generate)

    @wraps(function)
    def call(*args: P.args, **keywords: P.kwargs) -> T:
        outer = sys.exception()
        try:
            return function(*args, **keywords)
        except BaseException as error:
            del args, keywords
            clear_variables(error, outer)
            raise

    return call


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
