"""Credentials: where they are found, when they are renewed, and what the errors say."""

import json
import threading
from datetime import datetime, timezone

import pytest

from lambdallm_extension.aws.credentials import RENEW_BEFORE_MS, CredentialSource
from lambdallm_extension.errors import SettingError
from lambdallm_extension.http_client.failures import NotSentError
from lambdallm_extension.settings import Settings

LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001"}
HOUR_MS = 3_600_000


def iso(epoch_ms: int) -> str:
    return datetime.fromtimestamp(epoch_ms / 1000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def source(hand_clock, tmp_path):
    """Make a source that cannot see this machine's own files."""

    def make(environ):
        return CredentialSource(
            Settings.from_environ({"HOME": str(tmp_path), **environ}), hand_clock
        )

    return make


@pytest.fixture
def endpoint(serve, hand_clock):
    """A container endpoint that hands out numbered keys; `fail` makes it answer 500."""

    class Endpoint:
        fail = False
        lifetime_ms = HOUR_MS
        count = 0

        def behave(self, line):
            line.read()
            if self.fail:
                line.reply(b'{"message": "later"}', 500)
                return
            self.count += 1
            answer = {
                "AccessKeyId": f"AKID{self.count}",
                "SecretAccessKey": "secret",
                "Token": "token",
                "Expiration": iso(hand_clock.now_ms + self.lifetime_ms),
            }
            line.reply(json.dumps(answer).encode())

    endpoint = Endpoint()
    endpoint.peer = serve(endpoint.behave)
    endpoint.environ = {
        **LAMBDA,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{endpoint.peer.port}/2021/c?x=1",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "Basic abc",
    }
    return endpoint


def test_the_environments_variables_come_first(source, endpoint):
    keys = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S", "AWS_SESSION_TOKEN": "T"}

    credentials = source({**endpoint.environ, **keys}).current()

    assert credentials[:3] == ("A", "S", "T")
    assert endpoint.count == 0


def test_keys_without_a_session_token_have_none(source):
    credentials = source({"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S"}).current()

    assert credentials.session_token == ""


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
    ],
)
def test_half_a_pair_is_refused_by_the_missing_half(source, given, missing):
    with pytest.raises(SettingError, match=missing):
        source({given: "x"}).current()


@pytest.mark.parametrize(
    "name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
)
@pytest.mark.parametrize("value", ["sesame\n", "a\r\nX-Evil: sesame", "sesamé"])
def test_a_key_that_cannot_be_sent_is_named_and_not_repeated(source, name, value):
    keys = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret", name: value}

    with pytest.raises(SettingError, match=name) as refused:
        source(keys).current()
    assert "sesam" not in str(refused.value)


def test_without_any_the_error_says_what_to_set(source):
    with pytest.raises(SettingError, match=r"AWS_ACCESS_KEY_ID.*AWS_PROFILE"):
        source({}).current()


# The container endpoint


def test_the_container_endpoint_is_asked_with_its_token(source, endpoint, hand_clock):
    credentials = source(endpoint.environ).current()

    assert credentials[:3] == ("AKID1", "secret", "token")
    assert credentials.expires_at_ms == hand_clock.now_ms + HOUR_MS
    ((head, _),) = endpoint.peer.requests
    assert (head.method, head.target) == ("GET", "/2021/c?x=1")
    assert head.header("authorization") == "Basic abc"


def test_the_token_is_read_from_its_file_each_time(source, endpoint, tmp_path):
    file = tmp_path / "token"
    file.write_text("from the file")
    keys = source({**endpoint.environ, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(file)})

    keys.current()
    file.write_text("rotated")
    keys.forget()
    keys.current()

    tokens = [head.header("authorization") for head, _ in endpoint.peer.requests]
    assert tokens == ["from the file", "rotated"]


def test_a_token_with_a_line_break_is_refused(source, endpoint):
    environ = {**endpoint.environ, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "a\r\nx: y"}

    with pytest.raises(SettingError, match="line break"):
        source(environ).current()


def test_credentials_are_kept_until_shortly_before_they_expire(source, endpoint, hand_clock):
    keys = source(endpoint.environ)
    first = keys.current()

    hand_clock.now_ms += HOUR_MS - RENEW_BEFORE_MS - 1
    assert keys.current() == first
    hand_clock.now_ms += 1
    assert keys.current().access_key_id == "AKID2"


def test_while_the_endpoint_is_down_valid_credentials_go_on(source, endpoint, hand_clock):
    keys = source(endpoint.environ)
    first = keys.current()
    endpoint.fail = True

    hand_clock.now_ms += HOUR_MS - RENEW_BEFORE_MS
    assert keys.current() == first
    asked = len(endpoint.peer.requests)
    assert keys.current() == first
    assert len(endpoint.peer.requests) == asked  # It is left alone for a while.

    hand_clock.now_ms += RENEW_BEFORE_MS
    with pytest.raises(NotSentError, match="500"):
        keys.current()
    endpoint.fail = False
    assert keys.current().access_key_id == "AKID2"


def test_after_a_snapshot_was_restored_credentials_are_fetched_anew(source, endpoint):
    keys = source(endpoint.environ)
    keys.current()

    keys.forget()

    assert keys.current().access_key_id == "AKID2"


def test_short_lived_credentials_are_not_fetched_for_every_call(source, endpoint, hand_clock):
    endpoint.lifetime_ms = 60_000
    keys = source(endpoint.environ)

    assert {keys.current().access_key_id for _ in range(5)} == {"AKID1"}
    hand_clock.now_ms += 60_000
    assert keys.current().access_key_id == "AKID2"


def test_many_threads_fetch_once(source, endpoint):
    keys = source(endpoint.environ)
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(keys.current())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {credentials.access_key_id for credentials in seen} == {"AKID1"}
    assert endpoint.count == 1


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"AccessKeyId": "A"}', b"<html>"])
def test_an_answer_without_credentials_is_an_error_that_does_not_repeat_it(source, serve, body):
    peer = serve(lambda line: (line.read(), line.reply(body)))
    uri = f"http://localhost:{peer.port}/"

    with pytest.raises(NotSentError, match="no credentials"):
        source({"AWS_CONTAINER_CREDENTIALS_FULL_URI": uri}).current()


@pytest.mark.parametrize(
    "uri",
    ["http://10.0.0.1/", "http://127.0.0.1.evil.example/", "http://169.254.169.254/", "http://1/"],
)
def test_plain_http_to_another_machine_is_refused(source, uri):
    with pytest.raises(SettingError, match="AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        source({"AWS_CONTAINER_CREDENTIALS_FULL_URI": uri}).current()


# A developer's files


def write_files(folder, credentials="", config=""):
    (folder / ".aws").mkdir()
    (folder / ".aws/credentials").write_text(credentials)
    (folder / ".aws/config").write_text(config)


KEYS = "aws_access_key_id = {}\naws_secret_access_key = S%s\n"


def test_the_default_profile_is_found(source, tmp_path):
    write_files(tmp_path, "[default]\n" + KEYS.format("D") + "aws_session_token = T\n")

    assert source({}).current()[:3] == ("D", "S%s", "T")


def test_a_named_profile_is_found_in_either_file(source, tmp_path):
    write_files(
        tmp_path,
        "[default]\n" + KEYS.format("D") + "[one]\n" + KEYS.format("ONE"),
        "[profile one]\nregion = x\n[profile two]\n" + KEYS.format("TWO"),
    )

    assert source({"AWS_PROFILE": "one"}).current().access_key_id == "ONE"
    assert source({"AWS_PROFILE": "two"}).current().access_key_id == "TWO"


def test_the_files_may_lie_elsewhere(source, tmp_path):
    file = tmp_path / "keys"
    file.write_text("[default]\n" + KEYS.format("ELSEWHERE"))

    keys = source({"AWS_SHARED_CREDENTIALS_FILE": str(file)})

    assert keys.current().access_key_id == "ELSEWHERE"


def test_a_missing_profile_is_named(source):
    with pytest.raises(SettingError, match="AWS_PROFILE='nobody'"):
        source({"AWS_PROFILE": "nobody"}).current()


@pytest.mark.parametrize("profile", ["sso", "default"])
def test_a_profile_that_must_sign_in_says_how_to_export_its_keys(source, tmp_path, profile):
    write_files(
        tmp_path, config="[default]\ncredential_process = x\n[profile sso]\nsso_session = s\n"
    )
    environ = {} if profile == "default" else {"AWS_PROFILE": profile}

    with pytest.raises(SettingError, match=f"export-credentials --profile {profile}"):
        source(environ).current()


def test_a_file_that_is_no_configuration_is_named(source, tmp_path):
    write_files(tmp_path, "no section\n")

    with pytest.raises(SettingError, match="cannot be read"):
        source({}).current()


def test_in_lambda_files_are_not_looked_at(source, tmp_path):
    write_files(tmp_path, "[default]\n" + KEYS.format("D"))

    with pytest.raises(SettingError, match="role"):
        source(LAMBDA).current()
