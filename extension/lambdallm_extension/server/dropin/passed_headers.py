"""Which headers go on, from a client to the API behind a drop-in endpoint and back.

What belongs to one hop stays on it (RFC 9110, section 7.6.1), and so do the client's secrets and
our own headers. Everything else is passed on in its order, byte for byte.
"""

from __future__ import annotations

from lambdallm_wire.cost_headers import BEGINNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambda_runtime_api.http1 import Headers, Request

_OF_ONE_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)

_OF_A_REQUEST = frozenset(
    (
        "host",
        "content-length",
        "expect",
        "authorization",
        "x-api-key",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-security-token",
        "x-amz-region-set",
    )
)
"""Each is made anew for the next hop: the address, the length, and who asks."""

_OURS = ("lambdallm-", BEGINNING)

_IDENTITY = ("accept-encoding", "identity")


def upstream_headers(request: Request, *, metered: bool) -> Headers:
    """Return the headers of a client's request that go on to the API.

    Args:
        request: As it came.
        metered: Its answer is read on its way, so it must not come compressed.
    """
    dropped = _OF_ONE_HOP | _OF_A_REQUEST | _named_by_connection(request.headers)
    if metered:
        dropped |= {"accept-encoding"}
    passed = [
        header
        for header in request.headers
        if header[0] not in dropped and not header[0].startswith(_OURS)
    ]
    return [*passed, _IDENTITY] if metered else passed


def client_headers(headers: Headers, *, reframed: bool) -> Headers:
    """Return the headers of the API's answer that go back to the client.

    Args:
        headers: As they came.
        reframed: The body's length is told anew, by whoever sends it; a length stays otherwise.
    """
    dropped = _OF_ONE_HOP | _named_by_connection(headers)
    if reframed:
        dropped |= {"content-length"}
    return [header for header in headers if header[0].lower() not in dropped]


def _named_by_connection(headers: Headers) -> frozenset[str]:
    """Return the headers that `Connection` says are of this hop alone."""
    options = ",".join(value for name, value in headers if name.lower() == "connection")
    return frozenset(option.strip().lower() for option in options.split(","))
