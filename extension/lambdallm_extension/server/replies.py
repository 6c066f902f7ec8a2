"""What a request is answered with: all at once, or in pieces."""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple, Protocol
from lambdallm_wire import errors as wire_errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambda_runtime_api.http1 import Headers

OK = 200

JSON: Headers = [("content-type", "application/json")]
PROBLEM: Headers = [("content-type", wire_errors.CONTENT_TYPE)]
LINES: Headers = [("content-type", "application/x-ndjson")]


class Body(Protocol):
    """A body that comes in pieces."""

    def read(self) -> bytes:
        """Return the next piece, nothing at the end.

        Raises:
            ExtensionError: It was cut.
        """
        ...

    def close(self) -> None:
        """Let go of it: its reader has come to the end, or has gone."""
        ...


class Whole:
    """A body that is there, as one that comes in pieces."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def read(self) -> bytes:
        """Return all of it, then nothing."""
        body, self._body = self._body, b""
        return body

    def close(self) -> None:
        """Do nothing."""


class Reply(NamedTuple):
    """A status, headers, and a body: `pieces` where it is not None, else `body`."""

    status: int
    headers: Headers
    body: bytes
    pieces: Body | None = None


def plain(status: int, body: bytes) -> Reply:
    """Return a message of ours, or a problem."""
    return Reply(status, JSON if status == OK else PROBLEM, body)
