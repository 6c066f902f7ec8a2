"""In which way an answer of a handler of `@stream_handler` gets to whoever has asked."""

from __future__ import annotations

from lambdallm import _runtime_client, _settings
from lambdallm._outgoing import HTTP, Buffered, Declared, Pushed
from lambdallm._response_head import ResponseHead
from lambdallm._streamed import Streamed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lambdallm._context import LambdaLLMContext
    from lambdallm._events import Incoming
    from lambdallm._outgoing import Answer

VIAS = (*HTTP, "invoke", "websocket")
POLICIES = ("cancel", "finish")


class Delivery(Declared):
    """Chooses among the ways."""

    def open(self, incoming: Incoming, context: LambdaLLMContext, *, outermost: bool) -> Answer:
        """Choose the way of one event's answer; nothing is sent yet.

        Args:
            incoming: The event.
            context: Of its handler.
            outermost: Whether Lambda itself has called this handler, and not another handler.
        """
        context.response_head = ResponseHead()
        if self.on_disconnect == "cancel":
            context.left_streams = "cancel"
        return self._way(incoming, context, outermost=outermost)(self, incoming, context)

    def _way(
        self, incoming: Incoming, context: LambdaLLMContext, *, outermost: bool
    ) -> type[Answer]:
        if self.via == "websocket":
            pushed = incoming.shape == "websocket" and _is_message(incoming.event)
            return Pushed if pushed else Buffered
        if not outermost or (self.via in HTTP and not _can_stream(incoming)):
            return Buffered
        why_not = _runtime_client.why_not(context.work.request_id)
        if why_not is None:
            return Streamed
        if _settings.runtime_api():
            _runtime_client.tell_once(why_not)
        return Buffered


def _can_stream(incoming: Incoming) -> bool:
    """Say whether an event came by what can stream: load balancers and HTTP APIs cannot.

    HTTP APIs and Function URLs send events of one form, and have domains of their own.
    """
    if incoming.shape != "http" or incoming.resumed:
        return False
    request = incoming.event.get("requestContext")
    if not isinstance(request, dict):
        return True
    if "elb" in request:
        return False
    domain = request.get("domainName") if "http" in request else None
    return not isinstance(domain, str) or ".lambda-url." in domain or not _is_public(domain)


def _is_public(domain: str) -> bool:
    """Say whether a domain has a name in the DNS: emulators are asked by address, or have none."""
    last = domain.partition(":")[0].rpartition(".")
    return bool(last[0]) and not last[2].isdigit()


def _is_message(event: Mapping[str, Any]) -> bool:
    """Say whether an event of a WebSocket can be answered by messages: its opening cannot."""
    request = event.get("requestContext")
    return isinstance(request, dict) and request.get("eventType", "MESSAGE") == "MESSAGE"
