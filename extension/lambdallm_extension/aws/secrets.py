"""API keys and where they are kept: fetched when they are first wanted, and again before they age.

    "sk-…"                                            the key itself
    "env:OPENAI_API_KEY"                              a variable, which may hold one of the next two
    "arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-AbCdEf[#JSON_KEY]"
    "arn:aws:ssm:REGION:ACCOUNT:parameter/NAME[#JSON_KEY]"

    fetched ──4 min──► renewed by whoever asks next ──5 min──► waited for ──1 h──► never used again
                       others use what there is               used if nobody answers

A value is in no log line, no error and no repr; errors name the reference.
Source: API references of AWS Secrets Manager (GetSecretValue) and Systems Manager (GetParameter),
2026-11.
"""

from __future__ import annotations

import sys
from threading import Lock

from lambdallm_extension.aws.secret_references import Place, header_value, pick
from lambdallm_extension.errors import DeadlineError, ExtensionError, ProviderError, SettingError
from lambdallm_extension.http_client.failures import AnswerLostError, NotSentError
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdallm_extension.aws.credentials import CredentialSource
    from lambdallm_extension.http_client.client import HttpReply
    from lambdallm_extension.ports import Clock
    from lambdallm_extension.settings import Settings

RENEW_AFTER_MS = 240_000
"""From then on one caller fetches it anew, while the others use what there is."""

EXPIRES_AFTER_MS = 300_000
"""From then on it is waited for. A rotated key is known after five minutes, or after `forget`."""

STALE_MAX_MS = 3_600_000
"""So old a value is still used while the service does not answer: most keys live for months."""

ASK_AGAIN_MS = 10_000
"""Between two fetches of one secret, whoever calls it wrong or fails to fetch it."""

RENEW_MAX_MS = 2_000
"""How long a caller waits for a newer value while the old one can be used."""

CONNECT_SECONDS = 2.0
READ_SECONDS = 5.0

_OK = 200
_SERVER_ERROR = 500
_TOO_MANY = 429

_EXPIRED = ("ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException")
_THROTTLED = (
    "InternalServiceError",
    "InternalServerError",
    "RequestLimitExceeded",
    "ThrottledException",
    "ThrottlingException",
    "TooManyRequestsException",
)


class _Kept:
    """A secret that was fetched, or is about to be. No tuple: a repr would show the value."""

    __slots__ = ("asked", "asked_at_ms", "due", "failure", "fetched_at_ms", "lock", "told", "value")

    def __init__(self) -> None:
        self.lock = Lock()  # held by the one that fetches
        self.value: str | None = None
        self.fetched_at_ms = 0
        self.due = False  # somebody called the value wrong
        self.asked = 0  # how often the service was asked
        self.asked_at_ms = 0
        self.failure: ExtensionError | None = None
        self.told = False

    def age_ms(self, now_ms: int) -> int:
        """Return how old the value is; one from the future, by a clock set back, is too old."""
        age_ms = now_ms - self.fetched_at_ms
        return age_ms if age_ms >= 0 else EXPIRES_AFTER_MS

    def rests(self, now_ms: int) -> bool:
        """Say whether the service was asked so lately that it is left alone."""
        return 0 <= now_ms - self.asked_at_ms < ASK_AGAIN_MS


class Secrets:
    """Hands out API keys by reference. Threads share it; one of them fetches a secret."""

    def __init__(
        self,
        settings: Settings,
        credentials: CredentialSource,
        clock: Clock,
        log: Callable[[str], None] | None = None,
    ) -> None:
        """Fetch nothing yet.

        Args:
            settings: Variables, endpoints, proxies and trust.
            credentials: What requests are signed with.
            clock: Wall clock.
            log: Takes a sentence when a service does not answer; stdout if None.
        """
        self._settings = settings
        self._credentials = credentials
        self._clock = clock
        self._log = log or _write_line
        self._lock = Lock()
        self._kept: dict[str, _Kept] = {}

    def resolve(self, reference: str, deadline_ms: int) -> str:
        """Return the key that a reference stands for.

        Args:
            reference: See the head of this module.
            deadline_ms: When there is no more time to fetch it (epoch milliseconds).

        Raises:
            SettingError: There is no such secret or variable, no permission to read it, or
                nothing in it that a header could carry.
            ProviderError: The service did not answer, and no value is fresh enough; `retryable`,
                and no model was asked.
            DeadlineError: There is no time left to fetch it.
        """
        name, arn, field = self._split(reference)
        if not arn:
            return header_value(self._variable(name) if name else reference, name or "The API key")
        return header_value(pick(self._text(arn, deadline_ms), arn, field), arn)

    def forget(self, reference: str) -> bool:
        """Know that a key was refused (401): the next `resolve` fetches it anew.

        Returns:
            Whether it does: not for a key that stands in a setting, nor within ten seconds of
            the last fetch, so that a key which is simply wrong does not ask for itself at every
            call.
        """
        try:
            _, arn, _ = self._split(reference)
        except SettingError:
            return False
        with self._lock:
            kept = self._kept.get(arn)
        if kept is None or kept.rests(self._clock.epoch_ms()):
            return False
        kept.due = True
        return True

    def _split(self, reference: str) -> tuple[str, str, str]:
        """Return a variable's name, an ARN, and the field in its JSON; "" for what there is not."""
        name = ""
        if reference.startswith("env:"):
            name = reference[4:]
            reference = self._settings.environ.get(name, "").strip()
        if not reference.startswith("arn:"):
            return name, "", ""
        arn, _, field = reference.partition("#")
        return name, arn, field

    def _variable(self, name: str) -> str:
        value = self._settings.environ.get(name, "")
        if not value.strip():
            message = f"{name} is not set, which should hold an API key, or the ARN of a secret."
            raise SettingError(message)
        return value

    def _text(self, arn: str, deadline_ms: int) -> str:
        place = Place(arn)
        with self._lock:
            kept = self._kept.setdefault(arn, _Kept())
        now_ms = self._clock.epoch_ms()
        value, asked = kept.value, kept.asked
        if value is not None and kept.age_ms(now_ms) < EXPIRES_AFTER_MS:
            fresh = kept.age_ms(now_ms) < RENEW_AFTER_MS and not kept.due
            if fresh or not kept.lock.acquire(blocking=False):
                return value
        elif not kept.lock.acquire(timeout=max(0.0, (deadline_ms - now_ms) / 1_000)):
            message = f"No time is left to wait for {arn}, which another call is fetching."
            raise DeadlineError(message)
        try:
            return self._renew(place, kept, asked, deadline_ms)
        finally:
            kept.lock.release()

    def _renew(self, place: Place, kept: _Kept, asked: int, deadline_ms: int) -> str:
        """Fetch it, unless another thread has just done so, or failed to; the lock is held."""
        now_ms = self._clock.epoch_ms()
        usable = kept.value is not None and kept.age_ms(now_ms) < STALE_MAX_MS
        refused = kept.failure is not None and not kept.failure.retryable
        if kept.asked == asked and not (kept.rests(now_ms) and (usable or refused)):
            patience_ms = now_ms + RENEW_MAX_MS if usable else deadline_ms
            try:
                self._ask(place, kept, min(deadline_ms, patience_ms))
            except DeadlineError:
                if not usable:
                    raise
        if kept.value is not None and (usable or kept.failure is None):
            return kept.value
        raise _again(kept.failure, place.arn)

    def _ask(self, place: Place, kept: _Kept, deadline_ms: int) -> None:
        """Fetch it and keep what came of it."""
        try:
            value = self._fetch(place, deadline_ms)
        except DeadlineError:
            raise  # says nothing about the secret: the next caller has more time
        except ExtensionError as error:
            kept.failure = error
            if not error.retryable:
                kept.value = None  # taken away, or out of our reach: it is used no more
            elif kept.value is not None and not kept.told:
                kept.told = True
                self._log(f"{error.detail} The value of before is used, for up to an hour.")
        else:
            kept.value, kept.failure, kept.told, kept.due = value, None, False, False
            kept.fetched_at_ms = self._clock.epoch_ms()
        kept.asked += 1
        kept.asked_at_ms = self._clock.epoch_ms()

    def _fetch(self, place: Place, deadline_ms: int) -> str:
        from lambdallm_extension.aws.client import AwsClient

        # One client for each fetch: nothing stays open between two of them.
        there = self._settings._replace(region=place.region or self._settings.region)
        client = AwsClient(place.service, there, self._credentials, self._clock)
        target, arguments = place.request()
        headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)]
        try:
            reply = client.post(
                "/",
                headers,
                plain_json.dumps(arguments).encode(),
                deadline_ms=deadline_ms,
                connect_timeout_seconds=CONNECT_SECONDS,
                read_timeout_seconds=READ_SECONDS,
                idempotent=True,
            )
        except (NotSentError, AnswerLostError) as error:
            message = f"{place.arn} cannot be read now: {error}"
            raise _unavailable(message, place) from error
        finally:
            client.close()
        if reply.status != _OK:
            raise self._refusal(place, reply)
        try:
            return place.read(plain_json.loads(reply.body))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            kind = type(error).__name__
        # The answer may hold the secret, and that error a part of it: neither goes any further.
        message = f"{place.arn} cannot be read: {kind} in the answer."
        raise _unavailable(message, place)

    def _refusal(self, place: Place, reply: HttpReply) -> ExtensionError:
        """Make the error of a reply whose status is no 200.

        Shape: {"__type": "ResourceNotFoundException", "message": "…"}
        """
        try:
            body = plain_json.loads(reply.body)
        except ValueError:  # a proxy's page
            body = None
        stated = str(body.get("__type") or "") if isinstance(body, dict) else ""
        kind = (stated or reply.header("x-amzn-errortype")).partition(":")[0].rpartition("#")[2]
        kind = kind or f"HTTP status {reply.status}"
        if kind in _EXPIRED:
            self._credentials.forget()
        if (
            kind in _EXPIRED
            or kind in _THROTTLED
            or reply.status >= _SERVER_ERROR
            or reply.status == _TOO_MANY
        ):
            return _unavailable(f"{place.arn} cannot be read now: {kind}.", place, kind)
        message = (
            f"{place.arn} cannot be read: {kind}. It must exist, and the function's role needs "
            f"{place.action} on it (and kms:Decrypt, where a key of your own encrypts it)."
        )
        return SettingError(message)


def _unavailable(detail: str, place: Place, kind: str = "") -> ProviderError:
    return ProviderError(detail, kind=kind, retryable=True, sent=False, source=place.service)


def _again(failure: ExtensionError | None, arn: str) -> ExtensionError:
    """Return an error of its own for each thread that meets the same failure."""
    if isinstance(failure, ProviderError):
        return ProviderError(
            failure.detail, kind=failure.kind, retryable=True, sent=False, source=failure.source
        )
    if failure is not None:
        return SettingError(failure.detail)
    return DeadlineError(f"No time was left to read {arn}.")


def _write_line(sentence: str) -> None:
    sys.stdout.write(f"lambdallm: {sentence}\n")
    sys.stdout.flush()
