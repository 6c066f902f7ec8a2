"""Where credentials come from, and when they are fetched anew.

    variables of the environment        in Lambda, and wherever somebody exported them
    shared files (`aws.profiles`)       outside Lambda alone: a developer's machine
    container endpoint                  Lambda with SnapStart, ECS, EKS; they expire

The first that has any wins, the order of AWS's own clients. Source: botocore 1.43,
`credentials.py` and `utils.ContainerMetadataFetcher`.
"""

from __future__ import annotations

import _socket
from threading import Lock

from lambda_runtime_api import http1
from lambdallm_extension.aws.signing import Credentials
from lambdallm_extension.errors import DeadlineError, SettingError
from lambdallm_extension.http_client.connection import Patience, open_connection
from lambdallm_extension.http_client.failures import AnswerLostError, NotSentError
from lambdallm_extension.http_client.urls import Url, parse_url
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.ports import Clock
    from lambdallm_extension.settings import Settings

__all__ = ["CredentialSource", "Credentials"]

RENEW_BEFORE_MS = 300_000
"""Fetched anew so long before they expire, while the old ones still work."""

RENEW_AGAIN_MS = 10_000
"""After a failed renewal the old ones are used for so long before the endpoint is asked again."""

LOOK_AGAIN_MS = 1_000
"""Between two looks for newer credentials because somebody seems to have some."""

KNOWN_MAX = 4
"""Credentials that are recognised: the current ones, and those of renewals before."""

FETCH_TIMEOUT_MS = 2_000
"""The endpoint is on this machine. botocore waits as long."""

_OK = 200

_ECS_HOST = "169.254.170.2"
_LOOPBACK_NET = 127
_PLAIN_HOSTS = (_ECS_HOST, "169.254.170.23", "fd00:ec2::23", "localhost", "::1")

_FULL_URI = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
_RELATIVE_URI = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
_TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN"  # noqa: S105 - a variable's name


class CredentialSource:
    """Hands out credentials that are valid now. Threads share it; one of them fetches."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = Lock()
        self._current: Credentials | None = None
        self._renew_at_ms: int | None = None
        self._handed_out: tuple[Credentials, ...] = ()
        self._looked_at_ms = 0

    def current(self) -> Credentials:
        """Return credentials, fetched if they are missing or about to expire.

        Raises:
            SettingError: Nobody has set any; it says what to set.
            NotSentError: The container endpoint has none for us now, and the old ones expired.
        """
        credentials = self._current
        now_ms = self._clock.epoch_ms()
        if credentials is not None and (self._renew_at_ms is None or now_ms < self._renew_at_ms):
            return credentials
        still_valid = credentials is not None and now_ms < (credentials.expires_at_ms or 0)
        if credentials is not None and still_valid:
            if not self._lock.acquire(blocking=False):
                return credentials  # Another thread is renewing them.
        else:
            self._lock.acquire()
        try:
            return self._renew(credentials)
        finally:
            self._lock.release()

    def forget(self) -> None:
        """Drop what is cached: after a restore from a snapshot, or when AWS calls it expired."""
        with self._lock:
            self._current = None
            self._renew_at_ms = None

    def known(self, access_key_id: str) -> Credentials | None:
        """Return this environment's credentials of that key id, or None if it never had such.

        Those before a renewal are known, too: a client of the function that fetched its own keeps
        them as long as they last. It may as well have fetched newer ones than these, so a key id
        that is not known makes the endpoint be asked again, once a second at most.

        Raises:
            SettingError, NotSentError: As `current`.
        """
        self.current()
        found = self._find(access_key_id)
        if found is not None or self._renew_at_ms is None:
            return found
        with self._lock:
            now_ms = self._clock.epoch_ms()
            if not 0 <= now_ms - self._looked_at_ms < LOOK_AGAIN_MS:
                self._looked_at_ms = now_ms
                self._renew(self._current)
        return self._find(access_key_id)

    @property
    def handed_out(self) -> tuple[Credentials, ...]:
        """Those that are known, the newest first. Waits for nobody."""
        return self._handed_out

    def _find(self, access_key_id: str) -> Credentials | None:
        for credentials in self._handed_out:
            if credentials.access_key_id == access_key_id:
                return credentials
        return None

    def _renew(self, seen: Credentials | None) -> Credentials:
        if self._current is not None and self._current is not seen:
            return self._current  # Another thread was first.
        now_ms = self._clock.epoch_ms()
        try:
            renewed = self._load()
        except NotSentError:
            if seen is None or now_ms >= (seen.expires_at_ms or 0):
                raise
            self._renew_at_ms = min(now_ms + RENEW_AGAIN_MS, seen.expires_at_ms or 0)
            return seen
        self._renew_at_ms = _renewal(renewed, now_ms)
        self._current = renewed
        others = (old for old in self._handed_out if old.access_key_id != renewed.access_key_id)
        self._handed_out = (renewed, *others)[:KNOWN_MAX]
        return renewed

    def _load(self) -> Credentials:
        environ = self._settings.environ
        key_id, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
        if key_id and secret:
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
                value = environ.get(name, "")
                if not (value.isascii() and value.isprintable()):
                    message = f"{name} holds a line break, or another character that no key has."
                    raise SettingError(message)
            return Credentials(key_id, secret, environ.get("AWS_SESSION_TOKEN", ""))
        if key_id or secret:
            missing = "AWS_SECRET_ACCESS_KEY" if key_id else "AWS_ACCESS_KEY_ID"
            message = f"Half of the AWS credentials is set: {missing} is missing."
            raise SettingError(message)
        if not self._settings.in_lambda:
            from lambdallm_extension.aws import profiles

            found = profiles.load(environ)
            if found is not None:
                return found
        if environ.get(_FULL_URI) or environ.get(_RELATIVE_URI):
            return self._fetch()
        message = (
            "No AWS credentials: give the function a role, or set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY (with AWS_SESSION_TOKEN), or AWS_PROFILE with keys in "
            "~/.aws/credentials."
        )
        raise SettingError(message)

    def _fetch(self) -> Credentials:
        """Ask the container endpoint, once more if it does not answer."""
        url = self._endpoint()
        headers = [("host", url.authority), ("accept", "application/json")]
        token = self._token()
        if token:
            headers.append(("authorization", token))
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        request = http1.encode_request("GET", target, headers)
        failures = (NotSentError, AnswerLostError, DeadlineError)
        try:
            return _parse(*self._ask(url, request))
        except failures:
            try:
                return _parse(*self._ask(url, request))
            except failures as error:
                message = f"The credentials endpoint {url.host} does not help: {error}"
                raise NotSentError(message) from error

    def _ask(self, url: Url, request: bytes) -> tuple[int, bytes]:
        deadline_ms = self._clock.epoch_ms() + FETCH_TIMEOUT_MS
        seconds = FETCH_TIMEOUT_MS / 1000
        patience = Patience(self._clock, deadline_ms, seconds, seconds)
        connection = open_connection(url, None, self._settings.environ, patience)
        try:
            head, body = connection.exchange("GET", request, patience)
        finally:
            connection.close()
        return head.status, body

    def _endpoint(self) -> Url:
        environ = self._settings.environ
        relative = environ.get(_RELATIVE_URI)
        if relative:
            return parse_url(f"http://{_ECS_HOST}{relative}", _RELATIVE_URI)
        url = parse_url(environ[_FULL_URI], _FULL_URI)
        runtime_host = self._settings.runtime_api.partition(":")[0]
        if url.scheme == "https" or url.host in (*_PLAIN_HOSTS, runtime_host):
            return url
        if _is_loopback(url.host):
            return url
        message = f"{_FULL_URI} names {url.host!r}: without https it must be on this machine."
        raise SettingError(message)

    def _token(self) -> str:
        environ = self._settings.environ
        token = environ.get(_TOKEN, "")
        path = environ.get(f"{_TOKEN}_FILE")
        if path:
            from pathlib import Path  # It loads urllib.parse.

            try:
                token = Path(path).read_text(encoding="utf-8")
            except OSError as error:
                message = f"{_TOKEN}_FILE cannot be read: {error}"
                raise SettingError(message) from error
        if "\r" in token or "\n" in token:
            message = f"{_TOKEN} has a line break in it."
            raise SettingError(message)
        return token


def _renewal(credentials: Credentials, now_ms: int) -> int | None:
    """When to fetch anew: well before the expiry, but not at once if they are short-lived."""
    expires_at_ms = credentials.expires_at_ms
    if expires_at_ms is None:
        return None
    return max(expires_at_ms - RENEW_BEFORE_MS, min(now_ms + RENEW_AGAIN_MS, expires_at_ms))


def _parse(status: int, body: bytes) -> Credentials:
    """Read the endpoint's answer.

    Shape: {"AccessKeyId": "…", "SecretAccessKey": "…", "Token": "…",
            "Expiration": "2026-11-21T12:00:00Z"}
    """
    if status != _OK:
        message = f"It answers {status}."
        raise NotSentError(message)
    try:
        answer = plain_json.loads(body)
        expiration = answer.get("Expiration")
        return Credentials(
            str(answer["AccessKeyId"]),
            str(answer["SecretAccessKey"]),
            str(answer.get("Token") or ""),
            _parse_time(str(expiration)) if expiration else None,
        )
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        # The answer itself may hold a secret: it is not repeated.
        message = f"Its answer has no credentials ({type(error).__name__})."
        raise NotSentError(message) from None


def _parse_time(text: str) -> int:
    """Return epoch milliseconds of an ISO 8601 time in UTC.

    `datetime.fromisoformat` takes no "Z" before Python 3.11.
    """
    from datetime import datetime

    normal = text[:19] + (text[19:].lstrip(".0123456789").replace("Z", "+00:00") or "+00:00")
    return int(datetime.fromisoformat(normal).timestamp() * 1000)


def _is_loopback(host: str) -> bool:
    """Whether it is an address 127.x.y.z; a name that begins so may be anybody's."""
    try:
        return _socket.inet_pton(_socket.AF_INET, host)[0] == _LOOPBACK_NET
    except OSError:  # Not an address.
        return False
