"""Credentials of a role that is assumed: `sts:AssumeRole`, over the regional endpoint.

    the environment's credentials ──► STS ──► the role's, for an hour ──► renewed in time

Source: STS API Reference, "AssumeRole"; IAM User Guide, "Regional endpoints"; 2026-11.
"""

from __future__ import annotations

from threading import Lock

from lambdallm_extension.aws.client import AwsClient
from lambdallm_extension.aws.signing import Credentials, encode_label
from lambdallm_extension.errors import DeadlineError, SettingError
from lambdallm_extension.http_client.failures import AnswerLostError, NotSentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.aws.client import KeySource
    from lambdallm_extension.http_client.client import HttpReply
    from lambdallm_extension.ports import Clock
    from lambdallm_extension.settings import Settings

RENEW_BEFORE_MS = 300_000
"""Assumed anew so long before they expire, while the old ones still work."""

RENEW_AGAIN_MS = 10_000
"""After a renewal that failed the old ones are used for so long before STS is asked again."""

ASSUME_TIMEOUT_MS = 5_000
"""STS answers within a tenth of a second; a call waits for it."""

SESSION_NAME_MAX = 64
"""Source: as above, `RoleSessionName`."""

_OK = 200
_SERVER_ERROR = 500

_HEADERS = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")]

_TRANSIENT = ("Throttling", "ThrottlingException", "RequestLimitExceeded", "IDPCommunicationError")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException")


class AssumedRole:
    """Hands out a role's credentials that are valid now. Threads share it; one of them asks."""

    def __init__(
        self, role_arn: str, settings: Settings, credentials: KeySource, clock: Clock
    ) -> None:
        """Ask nothing yet.

        Args:
            role_arn: Of the role.
            settings: Region, endpoints, proxies, trust, and the function's name for the session's.
            credentials: Whose permission it is to assume the role.
            clock: Expiry.
        """
        self._role_arn = role_arn
        self._settings = settings
        self._credentials = credentials
        self._clock = clock
        self._session_name = _session_name(settings.function_name)
        self._lock = Lock()
        self._current: Credentials | None = None
        self._renew_at_ms = 0

    def current(self) -> Credentials:
        """Return credentials, asked for if they are missing or about to expire.

        Raises:
            SettingError: The role cannot be assumed; it says what to change.
            NotSentError: STS does not help now, and the old ones have expired.
        """
        current = self._current
        if current is not None and self._clock.epoch_ms() < self._renew_at_ms:
            return current
        with self._lock:
            current, now_ms = self._current, self._clock.epoch_ms()
            if current is not None and now_ms < self._renew_at_ms:
                return current  # Another thread was first.
            try:
                self._current = renewed = self._assume()
            except NotSentError:
                if current is None or now_ms >= (current.expires_at_ms or 0):
                    raise
                self._renew_at_ms = min(now_ms + RENEW_AGAIN_MS, current.expires_at_ms or 0)
                return current
            self._renew_at_ms = (renewed.expires_at_ms or 0) - RENEW_BEFORE_MS
            return renewed

    def forget(self) -> None:
        """Drop what is cached: AWS calls it expired."""
        with self._lock:
            self._current = None

    def _assume(self) -> Credentials:
        parameters = {
            "Action": "AssumeRole",
            "Version": "2011-06-15",
            "RoleArn": self._role_arn,
            "RoleSessionName": self._session_name,
        }
        body = "&".join([f"{name}={encode_label(value)}" for name, value in parameters.items()])
        sts = AwsClient("sts", self._settings, self._credentials, self._clock)
        try:
            reply = sts.post(
                "/",
                _HEADERS,
                body.encode(),
                deadline_ms=self._clock.epoch_ms() + ASSUME_TIMEOUT_MS,
                read_timeout_seconds=ASSUME_TIMEOUT_MS / 1_000,
                idempotent=True,
            )
        except (AnswerLostError, DeadlineError) as error:
            message = f"STS does not answer for {self._role_arn}: {error}"
            raise NotSentError(message) from error
        finally:
            sts.close()  # it is asked once an hour
        text = reply.body.decode("utf-8", "replace")
        if reply.status != _OK:
            raise self._refusal(reply, text)
        return self._read(text)

    def _read(self, text: str) -> Credentials:
        found = {
            name: _element(text, name)
            for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
        }
        try:
            expires_at_ms = _epoch_ms(found["Expiration"])
        except ValueError:
            expires_at_ms = 0
        if not (all(found.values()) and expires_at_ms):
            # The answer may hold a secret: it is not repeated.
            message = f"STS answered for {self._role_arn} without credentials."
            raise NotSentError(message)
        return Credentials(
            found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"], expires_at_ms
        )

    def _refusal(self, reply: HttpReply, text: str) -> SettingError | NotSentError:
        code = _element(text, "Code")
        said = f"{_element(text, 'Message') or 'no reason given'} ({code or reply.status})"
        if code in _EXPIRED:
            self._credentials.forget()
        if reply.status >= _SERVER_ERROR or code in (*_TRANSIENT, *_EXPIRED):
            return NotSentError(f"STS does not give {self._role_arn} now: {said}")
        return SettingError(
            f"The role {self._role_arn} cannot be assumed: {said}. Allow sts:AssumeRole on it in "
            "the function's role, name the function's role as a principal in its trust policy, "
            "and check role_arn in lambdallm.yaml."
        )


def _session_name(function_name: str) -> str:
    """Return a session's name that CloudTrail shows, of the characters that it may have."""
    kept = [c if (c.isascii() and c.isalnum()) or c in "+=,.@-_" else "-" for c in function_name]
    return f"lambdallm-{''.join(kept)}"[:SESSION_NAME_MAX]


def _element(text: str, name: str) -> str:
    """Return the text of the first element of that name, "" where there is none."""
    inner = text.partition(f"<{name}>")[2].partition(f"</{name}>")[0]
    for entity, character in _ENTITIES:
        inner = inner.replace(entity, character)
    return inner.strip()


_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&"))


def _epoch_ms(text: str) -> int:
    """Return epoch milliseconds of `2026-11-21T14:00:00Z`, or with a fraction."""
    from datetime import datetime

    return int(datetime.fromisoformat(f"{text[:19]}+00:00").timestamp() * 1_000)
