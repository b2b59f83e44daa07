"""The result of something that a task does not wait for: a request, or work in the pool."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Result(NamedTuple, Generic[T]):
    """Either a *value*, or an *error* (then *value* has no meaning)."""

    value: T
    error: Exception | None = None

    def get(self) -> T:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value


def failed(error: Exception) -> Result[Any]:
    """Return the result of an operation that failed with *error*."""
    return Result(None, error)
