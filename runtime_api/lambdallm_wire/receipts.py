"""What a receipt says of its session, so that another session's is known at once."""

from __future__ import annotations

import binascii


def session_mark(session_id: str, principal: str = "") -> str:
    """Return eight hex digits that hardly two sessions share. It is no secret, and proves nothing.

    Args:
        session_id: As the event named it.
        principal: Whose it is, "" where it is nobody's.
    """
    named = f"{principal}\0{session_id}".encode("utf-8", "surrogatepass")
    return f"{binascii.crc32(named):08x}"
