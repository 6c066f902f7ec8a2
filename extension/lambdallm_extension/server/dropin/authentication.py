"""Whether a client's request may use a drop-in endpoint: it shows a secret of this environment.

    OpenAI      Authorization: Bearer X                       X: the client key, or the value of the
    Anthropic   x-api-key: X, or Authorization: Bearer X      service's variable in the environment
    Bedrock     a signature by the environment's credentials, current or before a renewal
                Authorization: Bearer X
    all         lambdallm-token: the token or the client key; a key of the client's own goes on

The client key is of this environment alone, as the token is, but made before anything is loaded and
kept for the environment's whole life, clones included: clients are made once, at module scope.
"""

from __future__ import annotations

from hmac import compare_digest

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.aws.signing import ALGORITHM, timestamp_of
from lambdallm_extension.errors import SettingError
from lambdallm_extension.http_client.failures import NotSentError
from lambdallm_extension.server.dropin.signatures import Signed
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Literal

    from lambda_runtime_api.http1 import Request
    from lambdallm_extension.aws.credentials import Credentials, CredentialSource
    from lambdallm_extension.ports import Clock

    Service = Literal["openai", "anthropic", "bedrock"]

SKEW_MAX_MS = 300_000
"""As long as AWS accepts a signature's date to be off."""

ENVIRONMENT_KEYS: Mapping[str, tuple[str, ...]] = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "bedrock": (),
}
"""Variables that hold the key which the provider itself sends."""

PASSED_ON_KEYS: Mapping[str, tuple[str, ...]] = {
    "openai": ("OPENAI_ADMIN_KEY",),
    "anthropic": ("ANTHROPIC_AUTH_TOKEN",),
    "bedrock": ("AWS_BEARER_TOKEN_BEDROCK",),
}
"""Variables whose value admits as well, and goes on upstream as the client sent it."""

KEY_HEADERS: Mapping[str, tuple[str, ...]] = {
    "openai": ("authorization",),
    "anthropic": ("x-api-key", "authorization"),
    "bedrock": ("authorization",),
}

UNAUTHORIZED: Mapping[str, tuple[int, str]] = {
    "openai": (401, "invalid_api_key"),
    "anthropic": (401, "authentication_error"),
    "bedrock": (403, "UnrecognizedClientException"),
}
"""Status and name with which each API refuses a key."""

UNAVAILABLE = 503
BEARER = "bearer "
NAMED_MAX = 128
"""Of a key id that is repeated in a refusal; AWS's have 20 characters."""


class Admission(NamedTuple):
    """The request may be served.

    Attributes:
        own_key: Headers that go on upstream in the place of the provider's own authentication,
            because they are the client's; empty where the provider authenticates itself.
    """

    own_key: tuple[tuple[str, str], ...] = ()


class Refusal(NamedTuple):
    """The request may not be served.

    Attributes:
        kind: The API's own name of such an error.
        detail: What is wrong and what to do.
    """

    status: int
    kind: str
    detail: str


class Authenticator:
    """Decides for all drop-in endpoints of one environment. Threads share it."""

    def __init__(
        self,
        client_key: str,
        tokens: Callable[[], Sequence[bytes]],
        environ: Mapping[str, str],
        credentials: Callable[[], CredentialSource],
        clock: Clock,
    ) -> None:
        """Take the secrets of the environment.

        Args:
            client_key: What the exec wrapper hands to clients that have no key.
            tokens: Those that are good on `/v1` now.
            environ: The environment as Lambda made it, before any wrapper.
            credentials: Those that bring Bedrock's own; asked for each time, because a restore
                from a snapshot replaces them.
            clock: Wall clock.
        """
        self._client_key = client_key.encode("latin-1")
        self._tokens = tokens
        self._environ = environ
        self._credentials = credentials
        self._clock = clock
        self._earlier: tuple[Credentials, ...] = ()

    def remember(self) -> None:
        """Know the credentials of Init after a restore, too: clients made in Init keep them.

        Raises:
            SettingError, NotSentError: There are none.
        """
        source = self._credentials()
        source.current()
        self._earlier = source.handed_out

    def authenticate(self, service: Service, request: Request, body: bytes) -> Admission | Refusal:
        """Admit a request, or say why not.

        Args:
            service: Which endpoint it came to.
            request: Its head, as it came.
            body: The whole body; signatures cover it.
        """
        authorization = request.header("authorization")
        if service == "bedrock" and authorization.startswith("AWS4-"):
            return self._check_signature(request, body)
        keys = _keys_of(service, request)
        own = tuple((name, value) for name, value, _ in keys)
        if any(self._is_ours(service, key) for _, _, key in keys):
            return Admission()
        if any(self._holds(PASSED_ON_KEYS[service], key) for _, _, key in keys):
            return Admission(own)
        if self._has_token(request):
            return Admission(own)
        return _refuse(service, _unknown_key(service, given=bool(keys)))

    def _is_ours(self, service: Service, key: bytes) -> bool:
        return compare_digest(key, self._client_key) or self._holds(ENVIRONMENT_KEYS[service], key)

    def _holds(self, variables: tuple[str, ...], key: bytes) -> bool:
        """Say whether one of the variables has this value."""
        values = [self._environ.get(name, "") for name in variables]
        return any(value and compare_digest(key, _bytes(value)) for value in values)

    def _has_token(self, request: Request) -> bool:
        given = request.header(names.TOKEN_HEADER).encode("latin-1")
        secrets = (self._client_key, *self._tokens())
        return bool(given) and any(compare_digest(given, secret) for secret in secrets)

    def _check_signature(self, request: Request, body: bytes) -> Admission | Refusal:
        signed = Signed.parse(request.header("authorization"))
        timestamp = request.header("x-amz-date")
        if signed is None or "host" not in signed.names or signed.scope[:8] != timestamp[:8]:
            detail = (
                "The signature in the authorization header is none of Signature Version 4 "
                f"({ALGORITHM}, with host and x-amz-date)."
            )
            return _refuse("bedrock", detail, kind="IncompleteSignatureException")
        try:
            credentials = self._known(signed.access_key_id)
        except (SettingError, NotSentError) as error:
            detail = f"The signature cannot be checked. {error}"
            return Refusal(UNAVAILABLE, "ServiceUnavailableException", detail)
        if credentials is None:
            return _refuse("bedrock", _foreign_key(signed.access_key_id))
        if not signed.is_by(credentials, request.method, request.target, request.headers, body):
            detail = (
                "The signature is not that of this request. The key id is the function's own; "
                "something between the client and lambdallm has changed the request, or the client "
                "has another secret for it."
            )
            return _refuse("bedrock", detail, kind="InvalidSignatureException")
        if not self._is_now(timestamp):
            # It was signed by us here, on this clock, and then frozen. Clients sign each attempt.
            detail = f"The request was signed at {timestamp}, which is not now. Sign it again."
            return Refusal(UNAVAILABLE, "ServiceUnavailableException", detail)
        return Admission()

    def _known(self, access_key_id: str) -> Credentials | None:
        for credentials in self._earlier:
            if credentials.access_key_id == access_key_id:
                return credentials
        return self._credentials().known(access_key_id)

    def _is_now(self, timestamp: str) -> bool:
        now_ms = self._clock.epoch_ms()
        return timestamp_of(now_ms - SKEW_MAX_MS) <= timestamp <= timestamp_of(now_ms + SKEW_MAX_MS)


def region_of(authorization: str) -> str:
    """Return the region that a request was signed for, "" where it was not signed."""
    signed = Signed.parse(authorization)
    return signed.scope.split("/")[1] if signed is not None else ""


def _keys_of(service: Service, request: Request) -> list[tuple[str, str, bytes]]:
    """Return the headers that carry keys, and the key in each."""
    keys = []
    for name in KEY_HEADERS[service]:
        value = request.header(name)
        key = value
        if name == "authorization":
            if value[: len(BEARER)].lower() != BEARER:
                continue
            key = value[len(BEARER) :].strip(" ")
        if key:
            keys.append((name, value, key.encode("latin-1")))
    return keys


def _refuse(service: Service, detail: str, *, kind: str = "") -> Refusal:
    status, own = UNAUTHORIZED[service]
    return Refusal(status, kind or own, detail)


def _unknown_key(service: Service, *, given: bool) -> str:
    if service == "bedrock":
        return (
            "The request is not signed with the function's credentials. Let the client sign "
            f"(Signature Version 4), or send the header {names.TOKEN_HEADER}."
        )
    (variable,) = ENVIRONMENT_KEYS[service]
    what = "The key is not this environment's" if given else "The request carries no key"
    return (
        f"{what}: leave it to {variable}, or send the header {names.TOKEN_HEADER} beside a key of "
        f"your own, which then goes on to the API. {names.ENVIRONMENT_DROP_IN} without "
        f"'{service}' leaves such clients to themselves."
    )


def _foreign_key(access_key_id: str) -> str:
    named = access_key_id[:NAMED_MAX] if access_key_id.isalnum() else "an unknown one"
    return (
        f"The request is signed with the key {named}, which is not the function's. For another "
        "account set providers.bedrock.role_arn in lambdallm.yaml, and let the client sign with "
        "the function's own credentials; to go past lambdallm give the client its endpoint_url, "
        "such as https://bedrock-runtime.REGION.amazonaws.com."
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
