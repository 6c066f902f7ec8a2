"""The loop over `/next` of a start after a reset, as long as nobody has asked for anything.

Such a start runs inside an invocation, with a few percent of a CPU. So this loads nothing, reads no
event, and holds no environment.
"""

from __future__ import annotations

from lambda_runtime_api import http1
from lambda_runtime_api.extensions import ApiRefusedError, ExtensionClient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def run(client: ExtensionClient, is_asked: Callable[[], bool]) -> bytes:
    """Take events until somebody asks, or until SHUTDOWN; return the one that is not handled yet.

    Empty when there was no event to take: the loop that follows waits out what is wrong.
    """
    while True:
        try:
            event = client.next_body()
        except (ApiRefusedError, OSError, http1.ProtocolError):
            return b""
        if is_asked() or is_shutdown(event) or b'"INVOKE"' not in event:
            return event


def is_shutdown(event: bytes) -> bool:
    """Say whether this ends the environment."""
    return b'"SHUTDOWN"' in event
