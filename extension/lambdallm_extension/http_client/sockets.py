"""A socket whose reads end in time with as few calls of the system as can be."""

from __future__ import annotations

import _socket
import sys


class Socket(_socket.socket):
    """A socket that TLS can refer to weakly; the module `socket` costs 4 ms more to load."""

    __slots__ = ("__weakref__",)

    def block(self, seconds: float) -> None:
        """Let reads wait; see `block`."""
        block(self, seconds)


def block(connected: _socket.socket, seconds: float, option: int = _socket.SO_RCVTIMEO) -> None:
    """Make reads (with SO_SNDTIMEO writes) wait, and end with a BlockingIOError after so long.

    A read with a timeout of Python's own is three calls of the system (an attempt, a wait and the
    read), over TLS more, and a write is two; a chunk of a stream is hardly more work than that.
    """
    connected.settimeout(None)
    whole = int(seconds)
    microseconds = max(1, int((seconds - whole) * 1_000_000))
    timeval = b"".join(part.to_bytes(8, sys.byteorder) for part in (whole, microseconds))
    connected.setsockopt(_socket.SOL_SOCKET, option, timeval)
