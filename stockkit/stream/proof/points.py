"""Ends of a process planted before and after each call to what outlasts it: store, lake, bus, receiver of alerts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from stockkit.stream.proof.event_source import Crash


class Points:
    """Counts the moments at which the process may end, and ends it at some.

    Args:
        ends: the moments, counted from 0; over all lives of the process.
    """

    def __init__(self, ends: Collection[int] = ()) -> None:
        self.ends = frozenset(ends)
        self.passed = 0

    def pass_one(self) -> None:
        """Go by a moment, or end there."""
        self.passed += 1
        if self.passed - 1 in self.ends:
            raise Crash

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call with a moment before it and one after it."""

        def watched(*arguments: Any, **named: Any) -> Any:
            self.pass_one()
            result = call(*arguments, **named)
            self.pass_one()
            return result

        return watched


class Watched:
    """Stands for an object some of whose methods have a moment before and after them."""

    def __init__(self, target: Any, points: Points, methods: Collection[str]) -> None:
        self._target, self._points, self._methods = target, points, frozenset(methods)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._target, name)
        return self._points.around(attribute) if name in self._methods else attribute
