"""Tracebacks without variables: what a verbose one prints holds nothing about a person."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from functools import cached_property, wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)


def clear_locals(error: BaseException) -> None:
    """Clear the variables of all frames that an error has left, and of the errors behind it.

    A traceback keeps each frame's variables, and a verbose one prints them: identifiers, answers,
    tokens. Files, lines and functions stay. Frames that still run are left as they are.
    """
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            traceback.clear_frames(one.__traceback__)
            waiting += [one.__cause__, one.__context__]


def public(function: Callable[P, R]) -> Callable[P, R]:
    """Let errors leave a public function without the variables of the frames below it."""

    @wraps(function)
    def call(*args: P.args, **keywords: P.kwargs) -> R:
        try:
            return function(*args, **keywords)
        except BaseException as error:
            del args, keywords  # they are variables of this frame, which still runs
            clear_locals(error)
            raise

    return call


def public_class(cls: C) -> C:
    """Do the same for the public members of a class, and for how it is made."""
    for name, member in list(vars(cls).items()):
        if name.startswith("_") and name not in ("__init__", "__getitem__", "__iter__"):
            continue
        if isinstance(member, property):
            setattr(cls, name, property(public(member.fget)))  # type: ignore[arg-type] # has one
        elif isinstance(member, cached_property):
            lazy = cached_property(public(member.func))
            lazy.__set_name__(cls, name)
            setattr(cls, name, lazy)
        elif isinstance(member, classmethod | staticmethod):
            setattr(cls, name, type(member)(public(member.__func__)))
        elif inspect.isfunction(member) and not inspect.isgeneratorfunction(member):
            setattr(cls, name, public(member))
    return cls
