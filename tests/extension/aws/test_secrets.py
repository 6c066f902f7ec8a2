"""API keys of a service that fails as a test says: when they are fetched, kept, and given up."""

import json
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from fakes.clocks import HandClock
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.aws.secrets import (
    ASK_AGAIN_MS,
    EXPIRES_AFTER_MS,
    RENEW_AFTER_MS,
    STALE_MAX_MS,
    Secrets,
)
from lambdallm_extension.errors import DeadlineError, ProviderError, SettingError
from lambdallm_extension.settings import Settings, SystemClock

KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
}
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:openai-AbCdEf"
KEY = "sk-Zm9vYmFy0123456789"
REGION = "eu-west-1"


def open_secrets(endpoint: str, clock: Any = None, said: list[str] | None = None, **more: str):
    settings = Settings.from_environ({**KEYS, "AWS_ENDPOINT_URL": endpoint, **more})
    clock = clock or SystemClock()
    log = said.append if said is not None else None
    return Secrets(settings, CredentialSource(settings, clock), clock, log)


def soon(clock: Any = None) -> int:
    return (clock or SystemClock()).epoch_ms() + 10_000


class Vault:
    """Secrets Manager's one answer: a value, or a refusal."""

    def __init__(self) -> None:
        self.value = "key-1"
        self.status, self.kind = 200, ""
        self.asked = 0
        self.let_answer = threading.Event()
        self.let_answer.set()
        self.is_asked = threading.Event()

    def behave(self, line: Any) -> None:
        while True:
            line.read()
            self.asked += 1
            self.is_asked.set()
            self.let_answer.wait(10)
            if self.status == 200:
                line.reply(json.dumps({"SecretString": self.value}).encode())
            else:
                line.reply(json.dumps({"__type": self.kind}).encode(), self.status)

    def refuse(self, kind: str, status: int) -> None:
        self.status, self.kind = status, kind


@pytest.fixture
def vault() -> Vault:
    return Vault()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def secrets(serve: Callable[..., Any], vault: Vault, hand_clock: HandClock, said: list[str]):
    port = serve(vault.behave).port
    return open_secrets(f"http://127.0.0.1:{port}", hand_clock, said, KEY_ARN=ARN)


def test_it_is_fetched_at_its_first_use_and_kept(secrets, vault, hand_clock) -> None:
    assert vault.asked == 0

    for reference in (ARN, ARN, "env:KEY_ARN"):
        assert secrets.resolve(reference, soon(hand_clock)) == "key-1"

    assert vault.asked == 1


def test_the_request_goes_to_the_region_of_the_arn(serve, vault, hand_clock) -> None:
    peer = serve(vault.behave)
    secrets = open_secrets("", hand_clock, AWS_ENDPOINT_URL_SECRETS_MANAGER=f"http://127.0.0.1:{peer.port}")  # fmt: skip # noqa: E501

    secrets.resolve(ARN, soon(hand_clock))

    head, body = peer.requests[0]
    headers = dict(head.headers)
    assert f"/{REGION}/secretsmanager/aws4_request" in headers["authorization"]
    assert headers["x-amz-target"] == "secretsmanager.GetSecretValue"
    assert json.loads(body) == {"SecretId": ARN}


@pytest.mark.parametrize("which", ["wall", "both"])
def test_it_is_fetched_anew_before_it_ages(secrets, vault, hand_clock, which) -> None:
    secrets.resolve(ARN, soon(hand_clock))
    vault.value = "key-2"
    hand_clock.now_ms += RENEW_AFTER_MS - 1
    assert secrets.resolve(ARN, soon(hand_clock)) == "key-1"

    if which == "wall":  # as after a freeze, through which the monotonic clock stood still
        hand_clock.jump("wall", 0.001)
    else:
        hand_clock.now_ms += 1
    assert secrets.resolve(ARN, soon(hand_clock)) == "key-2"


def test_a_clock_that_was_set_back_makes_it_old(secrets, vault, hand_clock) -> None:
    secrets.resolve(ARN, soon(hand_clock))
    vault.value = "key-2"
    hand_clock.now_ms -= 3_600_000

    assert secrets.resolve(ARN, soon(hand_clock)) == "key-2"


def test_one_caller_renews_it_while_the_others_go_on(secrets, vault, hand_clock) -> None:
    secrets.resolve(ARN, soon(hand_clock))
    hand_clock.now_ms += RENEW_AFTER_MS
    vault.value = "key-2"
    vault.let_answer.clear()
    vault.is_asked.clear()
    renewed: list[str] = []
    renewing = threading.Thread(
        target=lambda: renewed.append(secrets.resolve(ARN, soon(hand_clock)))
    )
    renewing.start()
    assert vault.is_asked.wait(10)

    assert secrets.resolve(ARN, soon(hand_clock)) == "key-1"

    vault.let_answer.set()
    renewing.join(10)
    assert renewed == ["key-2"]
    assert vault.asked == 2


def test_many_that_want_it_at_once_fetch_it_once(secrets, vault, hand_clock) -> None:
    vault.let_answer.clear()
    got: list[str] = []
    threads = [
        threading.Thread(target=lambda: got.append(secrets.resolve(ARN, soon(hand_clock))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    assert vault.is_asked.wait(10)
    vault.let_answer.set()
    for thread in threads:
        thread.join(10)

    assert got == ["key-1"] * 8
    assert vault.asked == 1


def test_a_refused_key_is_fetched_anew_but_not_at_every_call(secrets, vault, hand_clock) -> None:
    secrets.resolve(ARN, soon(hand_clock))
    assert not secrets.forget(ARN), "it has just been fetched"
    hand_clock.now_ms += ASK_AGAIN_MS
    vault.value = "key-2"

    assert secrets.forget(ARN)
    assert secrets.resolve(ARN, soon(hand_clock)) == "key-2"
    assert not secrets.forget(ARN)
    assert secrets.resolve(ARN, soon(hand_clock)) == "key-2"
    assert vault.asked == 2


@pytest.mark.parametrize(
    ("kind", "status"), [("InternalServiceError", 500), ("ThrottlingException", 400), ("", 429)]
)
def test_the_old_value_is_used_while_the_service_is_down(
    secrets, vault, hand_clock, said, kind, status
) -> None:
    secrets.resolve(ARN, soon(hand_clock))
    vault.refuse(kind, status)
    for _ in range(3):
        hand_clock.now_ms += EXPIRES_AFTER_MS
        assert secrets.resolve(ARN, soon(hand_clock)) == "key-1"
        assert secrets.resolve(ARN, soon(hand_clock)) == "key-1"  # without asking again

    assert vault.asked == 4
    (line,) = said
    assert ARN in line
    hand_clock.now_ms += STALE_MAX_MS
    with pytest.raises(ProviderError) as raised:
        secrets.resolve(ARN, soon(hand_clock))
    assert (raised.value.retryable, raised.value.sent) == (True, False)
    vault.status, vault.value = 200, "key-2"
    assert secrets.resolve(ARN, soon(hand_clock)) == "key-2"


def test_a_first_failure_is_no_last_word(secrets, vault, hand_clock) -> None:
    vault.refuse("InternalServiceError", 500)
    with pytest.raises(ProviderError):
        secrets.resolve(ARN, soon(hand_clock))
    vault.status = 200

    assert secrets.resolve(ARN, soon(hand_clock)) == "key-1"


def test_a_permission_that_was_taken_away_ends_the_use(secrets, vault, hand_clock) -> None:
    secrets.resolve(ARN, soon(hand_clock))
    hand_clock.now_ms += EXPIRES_AFTER_MS
    vault.refuse("AccessDeniedException", 400)

    for _ in range(2):
        with pytest.raises(SettingError, match="secretsmanager:GetSecretValue"):
            secrets.resolve(ARN, soon(hand_clock))
    assert vault.asked == 2, "and it is not asked for again at every call"


def test_credentials_that_have_expired_are_fetched_anew(serve, hand_clock, tmp_path) -> None:
    handed_out: list[str] = []

    def behave(line: Any) -> None:
        while True:
            head, _ = line.read()
            if head.method == "GET":  # the endpoint of the credentials
                handed_out.append(f"AKID{len(handed_out)}")
                keys = {"AccessKeyId": handed_out[-1], "SecretAccessKey": "s", "Token": "t"}
                line.reply(json.dumps({**keys, "Expiration": "2099-01-01T00:00:00Z"}).encode())
            elif "AKID0" in dict(head.headers)["authorization"]:
                line.reply(b'{"__type": "ExpiredTokenException"}', 400)
            else:
                line.reply(b'{"SecretString": "key-1"}')

    url = f"http://127.0.0.1:{serve(behave).port}"
    environ = {"AWS_ENDPOINT_URL": url, "AWS_REGION": REGION, "HOME": str(tmp_path),
               "AWS_CONTAINER_CREDENTIALS_FULL_URI": url}  # fmt: skip
    settings = Settings.from_environ(environ)
    secrets = Secrets(settings, CredentialSource(settings, hand_clock), hand_clock)

    with pytest.raises(ProviderError) as raised:
        secrets.resolve(ARN, soon(hand_clock))
    assert raised.value.retryable
    assert secrets.resolve(ARN, soon(hand_clock)) == "key-1"
    assert len(handed_out) == 2


def test_who_cannot_wait_for_another_callers_fetch_is_told(secrets, vault, hand_clock) -> None:
    vault.let_answer.clear()
    fetching = threading.Thread(target=lambda: secrets.resolve(ARN, soon(hand_clock)))
    fetching.start()
    assert vault.is_asked.wait(10)

    with pytest.raises(DeadlineError, match="another call is fetching"):
        secrets.resolve(ARN, hand_clock.epoch_ms())

    vault.let_answer.set()
    fetching.join(10)


def test_a_page_of_a_proxy_is_no_answer(serve, hand_clock) -> None:
    def behave(line: Any) -> None:
        line.read()
        line.reply(b"<html>blocked</html>", 403)

    port = serve(behave).port
    with pytest.raises(SettingError, match="HTTP status 403"):
        open_secrets(f"http://127.0.0.1:{port}", hand_clock).resolve(ARN, soon(hand_clock))


def test_nobody_listens(hand_clock) -> None:
    with pytest.raises(ProviderError, match="AWS_ENDPOINT_URL_SECRETS_MANAGER") as raised:
        open_secrets("http://127.0.0.1:1", hand_clock).resolve(ARN, soon(hand_clock))

    assert raised.value.source == "secretsmanager"


def test_no_time_is_left(secrets, vault, hand_clock) -> None:
    with pytest.raises(DeadlineError):
        secrets.resolve(ARN, hand_clock.epoch_ms() - 1)

    assert secrets.resolve(ARN, soon(hand_clock)) == "key-1"


@pytest.mark.parametrize("body", [b"", b"<html>sk-Zm9vYmFy</html>", b'{"SecretString', b"[]", b"1"])
def test_an_answer_that_is_none_shows_nothing_of_itself(serve, hand_clock, body) -> None:
    def behave(line: Any) -> None:
        line.read()
        line.reply(body)

    port = serve(behave).port
    with pytest.raises(ProviderError) as raised:
        open_secrets(f"http://127.0.0.1:{port}", hand_clock).resolve(ARN, soon(hand_clock))

    assert "sk-" not in "".join(traceback.format_exception(raised.value))
    assert raised.value.__context__ is None


@pytest.mark.parametrize("value", ["two\nlines-of-a-key", "größer-als-ein-key", "  "])
def test_what_no_header_can_carry_is_refused_without_showing_it(
    secrets, vault, hand_clock, value
) -> None:
    vault.value = value
    with pytest.raises(SettingError) as raised:
        secrets.resolve(ARN, soon(hand_clock))

    assert ARN in str(raised.value)
    assert "key" not in str(raised.value).replace("no key has", "").replace(ARN, "")


def test_no_repr_shows_a_key(secrets, vault, hand_clock, said) -> None:
    vault.value = KEY
    secrets.resolve(ARN, soon(hand_clock))
    vault.refuse("InternalServiceError", 500)
    hand_clock.now_ms += EXPIRES_AFTER_MS
    secrets.resolve(ARN, soon(hand_clock))

    shown = repr(secrets) + repr(vars(secrets)) + "".join(said)
    assert said
    assert KEY not in shown
