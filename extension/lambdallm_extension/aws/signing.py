"""AWS Signature Version 4, as a pure function of the request and the time.

    canonical request ─SHA-256─► string to sign ─HMAC with the day's key─► authorization header

Equal, byte for byte, to what `botocore.auth.SigV4Auth` makes of the same request. S3 differs: its
paths are encoded once and not normalised. `aws.s3` keeps to keys of which that makes nothing else.
Source: IAM User Guide, "Create a signed AWS API request", 2026-11.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from hmac import digest
from time import gmtime, strftime

from lambda_runtime_api.declarations import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambda_runtime_api.http1 import Headers

ALGORITHM = "AWS4-HMAC-SHA256"

TERMINATOR = "aws4_request"
"""What every scope ends with."""

_UNSIGNED = frozenset(
    (
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-amzn-trace-id",
    )
)
"""Headers that something on the way may change; botocore leaves the same ones out."""

_PATH_SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/"
_PATH_CODES = [chr(code) if code in _PATH_SAFE else f"%{code:02X}" for code in range(256)]
_LABEL_CODES = [*_PATH_CODES]
_LABEL_CODES[ord("/")] = "%2F"


class Credentials(NamedTuple):
    """What a request is signed with.

    Attributes:
        session_token: "" for keys that do not expire.
        expires_at_ms: Wall clock, epoch milliseconds; None when nobody knows.
    """

    access_key_id: str
    secret_access_key: str
    session_token: str = ""
    expires_at_ms: int | None = None

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id!r}, ...)"


def sign(  # noqa: PLR0913 - a request has as many parts
    method: str,
    path: str,
    query: str,
    headers: Headers,
    body: bytes,
    *,
    credentials: Credentials,
    region: str,
    service: str,
    epoch_ms: int,
) -> Headers:
    """Return the headers that make the request a signed one.

    Args:
        method: As it is sent.
        path: As it is sent, percent-encoded once.
        query: As it is sent, without the question mark.
        headers: All that shall be signed, `host` among them; neither `date` nor `x-amz-date`.
        body: As it is sent.
        credentials: Whose request it is.
        region: Such as `eu-central-1`.
        service: The signing name, such as `bedrock` (for the host `bedrock-runtime`).
        epoch_ms: Wall clock; AWS allows it to be five minutes off.
    """
    timestamp = timestamp_of(epoch_ms)
    added = [("x-amz-date", timestamp)]
    if credentials.session_token:
        added.append(("x-amz-security-token", credentials.session_token))
    to_sign = [header for header in (*headers, *added) if header[0].lower() not in _UNSIGNED]
    scope = f"{timestamp[:8]}/{region}/{service}/{TERMINATOR}"
    signed_names, signature = signature_of(
        method,
        path,
        query,
        to_sign,
        body,
        secret_access_key=credentials.secret_access_key,
        scope=scope,
        timestamp=timestamp,
    )
    authorization = (
        f"{ALGORITHM} Credential={credentials.access_key_id}/{scope}, "
        f"SignedHeaders={signed_names}, Signature={signature}"
    )
    added.append(("authorization", authorization))
    return added


def signature_of(  # noqa: PLR0913 - a request has as many parts
    method: str,
    path: str,
    query: str,
    headers: Headers,
    body: bytes,
    *,
    secret_access_key: str,
    scope: str,
    timestamp: str,
) -> tuple[str, str]:
    """Return the names of the signed headers, and the signature in hex.

    Args:
        method: As it is sent.
        path: As it is sent, percent-encoded once.
        query: As it is sent, without the question mark.
        headers: Those that are signed, and no other.
        body: As it is sent; where `x-amz-content-sha256` is signed, that stands for it.
        secret_access_key: Belongs to the key id that the signature goes with.
        scope: `20261121/eu-central-1/bedrock/aws4_request`.
        timestamp: `20261121T131819Z`.
    """
    canonical_headers, signed_names, body_hash = _canonical_headers(headers)
    canonical_request = (
        f"{method.upper()}\n{_canonical_path(path)}\n{_canonical_query(query)}\n"
        f"{canonical_headers}\n{signed_names}\n{body_hash or sha256(body).hexdigest()}"
    )
    request_hash = sha256(canonical_request.encode()).hexdigest()
    signature = digest(
        _signing_key(secret_access_key, scope),
        f"{ALGORITHM}\n{timestamp}\n{scope}\n{request_hash}".encode(),
        "sha256",
    ).hex()
    return signed_names, signature


def timestamp_of(epoch_ms: int) -> str:
    """Return an instant as `x-amz-date` says it; such texts sort as the instants do."""
    return strftime("%Y%m%dT%H%M%SZ", gmtime(epoch_ms // 1000))


def encode_label(text: str) -> str:
    """Percent-encode one segment of a path, such as a model's ARN, the way AWS's clients do."""
    return "".join([_LABEL_CODES[code] for code in text.encode()])


@lru_cache(maxsize=16)
def _signing_key(secret: str, scope: str) -> bytes:
    """Derive the key of a day; kept, because four of the five HMACs are always the same."""
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = digest(key, part.encode(), "sha256")
    return key


def _canonical_headers(headers: Headers) -> tuple[str, str, str]:
    """Return the header lines, the names that are signed, and the body's hash if given."""
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(" ".join(value.split()))
    names = sorted(values)
    lines = "".join([f"{name}:{','.join(values[name])}\n" for name in names])
    return lines, ";".join(names), values.get("x-amz-content-sha256", [""])[0]


def _canonical_path(path: str) -> str:
    """Remove dots and double slashes, and encode what the wire's encoding left: `%` too."""
    if path in ("", "/"):
        return "/"
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment and segment != ".":
            segments.append(segment)
    normal = "/".join(segments)
    if path[0] == "/":
        normal = f"/{normal}"
    if path[-1] == "/" and segments:
        normal += "/"
    return "".join([_PATH_CODES[code] for code in normal.encode()])


def _canonical_query(query: str) -> str:
    if not query:
        return ""
    pairs = sorted(pair.partition("=")[::2] for pair in query.split("&"))
    return "&".join([f"{name}={value}" for name, value in pairs])
