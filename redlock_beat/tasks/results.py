"""What a caller gets for a call that is not sent."""

from __future__ import annotations

from celery.result import EagerResult

IGNORED = "IGNORED"


class IgnoredResult(EagerResult):  # type: ignore[misc]
    """The result of a call that was ignored: its state is IGNORED, and there is nothing to wait for.

    >>> result = IgnoredResult("7", 30.0)
    >>> result.state, result.get(), result.successful(), result.failed()
    ('IGNORED', None, False, False)
    """

    def __init__(self, id: str, left: float = 0.0, name: str | None = None) -> None:
        super().__init__(id, None, IGNORED, name=name)
        #: Seconds until such a call is sent again.
        self.left = left

    def __reduce_args__(self) -> tuple[str, float, str | None]:
        return self.id, self.left, self._name

    def __repr__(self) -> str:
        return f"<IgnoredResult: {self.id}>"
