"""Who may have a request passed on raw, and as whom it goes on. See `raw_forwarding`."""

from __future__ import annotations

import http.client
import json
import time
from hmac import compare_digest
from urllib.parse import urlsplit

from lambda_runtime_api.declarations import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambdallm_extension.aws.signing import Credentials

    Headers = list[tuple[str, str]]

TOKEN_HEADER = "lambdallm-token"  # noqa: S105 - a header's name
KEY_HEADERS = ("x-api-key", "authorization")
BEARER = "bearer "
CREDENTIALS_SECONDS = 2.0


ARN = "arn:"
KEPT_ELSEWHERE = (
    "The key is kept in Secrets Manager or SSM, and lambdallm, which fetches it, is not there: "
    "see the function's log. It comes back with the next environment."
)


class RefusedError(Exception):
    """The client gets this as its answer."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Incoming(NamedTuple):
    """A client's request. Names of headers are lower case."""

    method: str
    target: str
    headers: Headers
    body: bytes

    def header(self, name: str) -> str:
        """Return the first value of a header."""
        return next((value for key, value in self.headers if key == name), "")

    @property
    def keys(self) -> list[str]:
        """The keys that it carries, ours among them."""
        bearer = self.header("authorization")
        if bearer[: len(BEARER)].lower() != BEARER:
            bearer = ""
        given = (self.header(TOKEN_HEADER), self.header("x-api-key"), bearer[len(BEARER) :].strip())
        return [key for key in given if key]


class Admission:
    """Knows the environment's secrets. Threads share it."""

    def __init__(self, client_key: str, environ: Mapping[str, str]) -> None:
        self._client_key = client_key
        self._environ = environ
        self._known: dict[str, Credentials] = {}

    def key_headers(self, request: Incoming, variables: tuple[str, ...]) -> Headers:
        """Return the headers with which a request goes on: its own, or those of a key.

        Args:
            request: As it came.
            variables: Hold keys; the first one's is sent for a client that brings ours.

        Raises:
            RefusedError: It shows no secret of this environment, or there is no key.
        """
        values = [self._environ.get(name, "") for name in variables]
        if not any(_is_one_of(key, [self._client_key, *values]) for key in request.keys):
            raise RefusedError(401, "The key is not this environment's.")
        if any(key.startswith(ARN) for key in (*request.keys, values[0])):
            raise RefusedError(503, KEPT_ELSEWHERE)
        if any(not self._is_ours(key) for key in request.keys):
            return [header for header in request.headers if header[0] in KEY_HEADERS]
        if not values[0]:
            raise RefusedError(401, f"{variables[0]} is not set.")
        if variables[0].startswith("ANTHROPIC"):
            return [("x-api-key", values[0])]
        return [("authorization", f"Bearer {values[0]}")]

    def sign(self, request: Incoming, target: str, headers: Headers) -> Headers:
        """Return what a request to Bedrock adds to its headers: a signature of the environment's.

        Args:
            request: As it came.
            target: As it goes on.
            headers: As they go on.

        Raises:
            RefusedError: It is not of this environment, or nothing can be signed.
        """
        bearer = self._environ.get("AWS_BEARER_TOKEN_BEDROCK", "")
        if any(_is_one_of(key, [bearer]) for key in request.keys):
            return [("authorization", f"Bearer {bearer}")]
        try:
            from lambdallm_extension.aws import signing
            from lambdallm_extension.server.dropin.signatures import Signed
        except Exception as error:
            message = f"Signatures cannot be made ({error})."
            raise RefusedError(503, message) from error
        credentials = self._credentials(signing)
        signed = Signed.parse(request.header("authorization"))
        known = self._known.get(signed.access_key_id) if signed else None
        if not any(self._is_ours(key) for key in request.keys) and not (
            signed and known and signed.is_by(known, *request)
        ):
            raise RefusedError(403, "The request is not signed with the function's credentials.")
        path, _, query = target.partition("?")
        return signing.sign(
            request.method,
            path,
            query,
            headers,
            request.body,
            credentials=credentials,
            region=self._environ.get("AWS_REGION") or self._environ["AWS_DEFAULT_REGION"],
            service="bedrock",
            epoch_ms=time.time_ns() // 1_000_000,
        )

    def _is_ours(self, key: str) -> bool:
        return _is_one_of(key, [self._client_key])

    def _credentials(self, signing: object) -> Credentials:
        """Return the environment's credentials as they are now, and know them from now on."""
        environ = self._environ
        found = [environ.get(name, "") for name in _CREDENTIALS]
        if not all(found[:2]):
            try:
                found = _fetch(environ)
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                message = f"There are no credentials ({type(error).__name__}: {error})."
                raise RefusedError(503, message) from error
        made: Credentials = signing.Credentials(*found)  # type: ignore[attr-defined]
        self._known[made.access_key_id] = made
        return made


_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def _fetch(environ: Mapping[str, str]) -> list[str]:
    """Ask the container endpoint: under SnapStart the variables hold none."""
    url = urlsplit(environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"])
    connection = http.client.HTTPConnection(
        url.hostname or "", url.port, timeout=CREDENTIALS_SECONDS
    )
    try:
        token = environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
        headers = {"authorization": token} if token else {}
        connection.request("GET", f"{url.path or '/'}?{url.query}".rstrip("?"), headers=headers)
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return [answer["AccessKeyId"], answer["SecretAccessKey"], answer.get("Token") or ""]


def _is_one_of(key: str, secrets: list[str]) -> bool:
    given = key.encode("latin-1", "replace")
    return any(secret and compare_digest(given, secret.encode()) for secret in secrets)
