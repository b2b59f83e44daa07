"""The result of something that a task does not wait for: a request, or work in the pool."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Result(NamedTuple, Generic[T]):
    """Either a *value*, or the *error* that came instead (then *value* means nothing)."""

    value: T
    error: Exception | None = None

    def get(self) -> T:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value


def failed(error: Exception) -> Result[Any]:
    """Return the result of something that ended in *error*."""
    return Result(None, error)
