"""Objects of one S3 bucket: put, get, copy onto themselves, delete. Each may be sent twice.

    s3://BUCKET[/PREFIX][?region=REGION]

Names of buckets and keys have only characters that mean themselves in a path (`a-z A-Z 0-9 - _ .`
and single slashes), so that S3's way of signing and that of AWS's other services are one.

    404 of a key    there is no object; without `s3:ListBucket` S3 says 403 instead
    5xx, throttled  asked again, with jitter, until the deadline
    expired token   renewed once

Source: Amazon S3 API reference, "Error responses"; user guide, "Virtual hosting", 2026-11.
"""

from __future__ import annotations

import time
from hashlib import sha256

from lambda_runtime_api.declarations import NamedTuple
from lambdallm_extension.aws.client import AwsClient
from lambdallm_extension.aws.endpoints import arn_partition, resolve
from lambdallm_extension.errors import (
    DeadlineError,
    SettingError,
    StoreRefusedError,
    StoreUnavailableError,
)
from lambdallm_extension.http_client.failures import AnswerLostError, NotSentError
from lambdallm_extension.settings import SystemRandom

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambda_runtime_api.http1 import Headers
    from lambdallm_extension.aws.credentials import CredentialSource
    from lambdallm_extension.http_client.client import HttpReply
    from lambdallm_extension.ports import Clock, Random
    from lambdallm_extension.settings import Settings

ATTEMPTS_MAX = 6
FIRST_DELAY_SECONDS = 0.05
DELAY_MAX_SECONDS = 1.0

CONNECT_TIMEOUT_SECONDS = 2.0
READ_TIMEOUT_SECONDS = 5.0
"""S3 begins to answer within 0.2 s, mostly; who is silent for longer is asked again.

Source: S3 user guide, "Performance design patterns", 2026-11.
"""

TELLING_MS = 50
"""Kept free before the deadline, so that who waits until then hears why S3 did not answer."""

_EXCERPT_MAX = 200
_OK, _NO_CONTENT, _NOT_FOUND, _FORBIDDEN, _SERVER_ERROR = 200, 204, 404, 403, 500
_TOO_MANY = 429

_EXPIRED = frozenset(("ExpiredToken", "InvalidToken", "TokenRefreshRequired"))
_NOT_ACCEPTED = frozenset(("InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed"))
_AGAIN = frozenset(
    ("SlowDown", "Throttling", "RequestTimeout", "OperationAborted", "RequestLimitExceeded")
)
_ELSEWHERE = frozenset(
    (
        "PermanentRedirect",
        "TemporaryRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
    )
)

_BUCKET_LENGTH = range(3, 64)
_BUCKET_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-")
_KEY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./")
_PREFIX_MAX = 512


class Location(NamedTuple):
    """Where objects lie. `prefix` has no slash at either end; `region` may be ""."""

    bucket: str
    prefix: str
    region: str


def parse_location(url: str, setting: str) -> Location:
    """Take `s3://BUCKET[/PREFIX][?region=REGION]` apart.

    Args:
        url: The URL.
        setting: Name of the variable it stands in, for the error.

    Raises:
        SettingError: It is none.
    """
    scheme, _, rest = url.strip().partition("://")
    rest, _, query = rest.partition("?")
    bucket, _, prefix = rest.partition("/")
    name, _, region = query.partition("=")
    prefix = prefix.removesuffix("/")
    fits = (
        scheme == "s3"
        and len(bucket) in _BUCKET_LENGTH
        and _BUCKET_CHARACTERS.issuperset(bucket)
        and bucket[0].isalnum()
        and bucket[-1].isalnum()
        and ".." not in bucket
        and len(prefix) <= _PREFIX_MAX
        and _KEY_CHARACTERS.issuperset(prefix)
        and not (prefix and {"", ".", ".."}.intersection(prefix.split("/")))
        and (not query or (name == "region" and bool(region)))
    )
    if not fits:
        message = (
            f"{setting}={url!r} is no place for objects: it may be "
            "s3://BUCKET[/PREFIX][?region=REGION], of letters, digits and - _ . / alone."
        )
        raise SettingError(message)
    return Location(bucket, prefix, region)


class Bucket:
    """Objects below one prefix of one bucket. Threads share it; nothing is sent before a call."""

    def __init__(  # noqa: PLR0913 - where it lies, and what it is asked with
        self,
        location: Location,
        settings: Settings,
        clock: Clock,
        credentials: CredentialSource,
        random: Random | None = None,
        sleep: Callable[[float], None] = time.sleep,
        *,
        setting: str = "LAMBDALLM_PAYLOADS",
    ) -> None:
        """Name the bucket; `setting` is the variable that does, for errors.

        Raises:
            SettingError: No region is set.
        """
        if location.region:
            settings = settings._replace(region=location.region)
        self._location = location
        self._setting = setting
        self._clock = clock
        self._random = random or SystemRandom()
        self._sleep = sleep
        host, path = address_of(location.bucket, settings)
        if host:
            settings = settings._replace(endpoints={"s3": f"https://{host}"})
        self._client = AwsClient("s3", settings, credentials, clock)
        beginning = f"{path}/{location.prefix}" if location.prefix else path
        self._beginning = f"{beginning}/"

    def put(self, key: str, body: bytes, *, deadline_ms: int) -> None:
        """Write an object; S3 compares what arrives with the hash that is signed.

        Raises:
            StoreUnavailableError: S3 did not confirm before the deadline.
            StoreRefusedError: It said no; the error says what to change.
        """
        headers = [("content-type", "application/octet-stream")]
        reply = self._send("PUT", key, headers, body, deadline_ms)
        if reply.status != _OK:
            raise self._error("PUT", key, reply)

    def get(self, key: str, *, deadline_ms: int) -> bytes | None:
        """Return an object, None when S3 says that there is none.

        Raises:
            StoreUnavailableError, StoreRefusedError: As `put`.
        """
        reply = self._send("GET", key, [], b"", deadline_ms)
        if reply.status == _OK:
            return reply.body
        if reply.status == _NOT_FOUND and _code(reply) in ("NoSuchKey", ""):
            return None
        raise self._error("GET", key, reply)

    def copy(self, key: str, to: str, *, deadline_ms: int) -> bool:
        """Copy an object, onto itself too, which begins its lifecycle anew; False: there is none.

        Raises:
            StoreUnavailableError, StoreRefusedError: As `put`.
        """
        prefix = f"{self._location.prefix}/" if self._location.prefix else ""
        headers = [
            ("x-amz-copy-source", f"/{self._location.bucket}/{prefix}{key}"),
            ("x-amz-metadata-directive", "REPLACE"),
        ]
        reply = self._send("PUT", to, headers, b"", deadline_ms)
        if reply.status == _OK:
            return True
        if reply.status == _NOT_FOUND and _code(reply) in ("NoSuchKey", ""):
            return False
        raise self._error("PUT", to, reply)

    def delete(self, key: str, *, deadline_ms: int) -> None:
        """Remove an object, if there is one.

        Raises:
            StoreUnavailableError, StoreRefusedError: As `put`.
        """
        reply = self._send("DELETE", key, [], b"", deadline_ms)
        if reply.status not in (_OK, _NO_CONTENT, _NOT_FOUND) or _code(reply) == "NoSuchBucket":
            raise self._error("DELETE", key, reply)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def where(self, key: str) -> str:
        """Name an object for whoever looks for it."""
        prefix = f"{self._location.prefix}/" if self._location.prefix else ""
        return f"s3://{self._location.bucket}/{prefix}{key}"

    def _send(
        self, method: str, key: str, headers: Headers, body: bytes, deadline_ms: int
    ) -> HttpReply:
        """Send it until S3 has said something that waiting does not change."""
        deadline_ms -= TELLING_MS
        headers = [*headers, ("x-amz-content-sha256", sha256(body).hexdigest())]
        renewed, said = False, ""
        for attempt in range(ATTEMPTS_MAX):
            try:
                reply = self._client.send(
                    method,
                    self._beginning + key,
                    headers,
                    body,
                    deadline_ms=deadline_ms,
                    connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS,
                    read_timeout_seconds=READ_TIMEOUT_SECONDS,
                    idempotent=True,
                )
            except (AnswerLostError, NotSentError, DeadlineError) as error:
                said = error.detail
            else:
                code = _code(reply)
                if code in _EXPIRED and not renewed:
                    renewed = True
                    self._client.renew_credentials()
                    continue
                if not _passes(reply, code):
                    return reply
                said = f"{code or f'HTTP status {reply.status}'} {_message(reply)}"
            wait = self._random.uniform(0, min(DELAY_MAX_SECONDS, FIRST_DELAY_SECONDS * 2**attempt))
            left_seconds = (deadline_ms - self._clock.epoch_ms()) / 1_000
            if attempt + 1 == ATTEMPTS_MAX or wait >= left_seconds:
                break
            self._sleep(wait)
        message = f"{method} {self.where(key)}: S3 did not do it in time: {said}"
        raise StoreUnavailableError(message)

    def _error(self, method: str, key: str, reply: HttpReply) -> StoreRefusedError:
        """Say what has to be changed."""
        code, region = _code(reply), self._client.region
        said = f"{method} {self.where(key)}: {code or reply.status}: {_message(reply)}"
        bucket = f"bucket {self._location.bucket!r} ({self._setting})"
        if code == "NoSuchBucket":
            return StoreRefusedError(f"There is no {bucket}. {said}")
        if code in _ELSEWHERE:
            actual = reply.header("x-amz-bucket-region") or "another region"
            return StoreRefusedError(
                f"The {bucket} is in {actual}, not in {region}: write "
                f"?region={actual if ' ' not in actual else 'REGION'} behind it. {said}"
            )
        if code in _EXPIRED or code in _NOT_ACCEPTED:
            return StoreRefusedError(
                "The credentials are not accepted: in Lambda a new execution environment gets new "
                f"ones; elsewhere sign in again, and check the clock. {said}"
            )
        if reply.status == _FORBIDDEN:
            actions = {"GET": "s3:GetObject", "DELETE": "s3:DeleteObject"}
            missing = " The object may also be gone: S3 says the same then." * (method == "GET")
            prefix = f"{self._location.prefix}/" if self._location.prefix else ""
            return StoreRefusedError(
                f"Not allowed. Give the function's role {actions.get(method, 's3:PutObject')} on "
                f"arn:{arn_partition(region)}:s3:::{self._location.bucket}/{prefix}*, and use of "
                f"the bucket's KMS key if it has one.{missing} {said}"
            )
        return StoreRefusedError(said)


def address_of(bucket: str, settings: Settings) -> tuple[str, str]:
    """Return the bucket's own host, or "" and the path where a service's host is asked.

    An endpoint that somebody set is asked by path, which VPC endpoints and other makers' servers
    all take; so is a bucket whose dots no certificate covers.
    """
    if settings.endpoints.get("s3") or settings.endpoints.get(""):
        return "", f"/{bucket}"
    dual_stack = settings.environ.get("AWS_USE_DUALSTACK_ENDPOINT", "").lower() == "true"
    environ = {**settings.environ, "AWS_USE_DUALSTACK_ENDPOINT": "false"}
    host = resolve("s3", settings._replace(environ=environ)).host
    if dual_stack:  # S3's own way: s3.dualstack.REGION.amazonaws.com
        service, _, rest = host.partition(".")
        host = f"{service}.dualstack.{rest}"
    return (host, f"/{bucket}") if "." in bucket else (f"{bucket}.{host}", "")


def _passes(reply: HttpReply, code: str) -> bool:
    """Whether S3 may say something else a little later; a copy can fail behind a status 200."""
    if reply.status == _OK:
        return code != ""
    return reply.status >= _SERVER_ERROR or reply.status == _TOO_MANY or code in _AGAIN


def _code(reply: HttpReply) -> str:
    """Return S3's name of an error, "" where there is none.

    Shape: <?xml …?><Error><Code>NoSuchKey</Code><Message>…</Message>…</Error>
    """
    head = reply.body[:4_096]
    if reply.status == _OK and reply.header("content-type") != "application/xml":
        return ""
    return _element(head, b"Code") if b"<Error>" in head else ""


def _message(reply: HttpReply) -> str:
    text = _element(reply.body[:4_096], b"Message")
    return text or " ".join(reply.body[:_EXCERPT_MAX].decode("utf-8", "replace").split())


def _element(body: bytes, name: bytes) -> str:
    return (
        body.partition(b"<%b>" % name)[2].partition(b"</%b>" % name)[0].decode("utf-8", "replace")
    )
