"""APIs that are asked with a key: where they are, whose key they get, what is passed on."""

import json
import threading

import pytest

from fakes.api_server import ApiServer, Reply, load
from lambdallm_extension.aws.credentials import CredentialSource
from lambdallm_extension.configuration import Configuration, ProviderSettings
from lambdallm_extension.errors import InvalidRequestError, ProviderError, SettingError
from lambdallm_extension.model_ports import RawRequest
from lambdallm_extension.providers import Surroundings, open_provider
from lambdallm_extension.providers.anthropic.api import open_anthropic
from lambdallm_extension.providers.openai.api import open_compatible, open_openai
from lambdallm_extension.settings import Settings, SystemClock

OPENERS = {"openai": open_openai, "openai-compatible": open_compatible, "anthropic": open_anthropic}
ASKED = {"messages": [{"role": "user", "content": "Hi"}]}
ARN = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:openai-AbCdEf"

CHAT = load("openai_chat.json").replies
MESSAGES = load("anthropic_messages.json").replies


class Safe:
    """Where keys are kept, as a provider sees it: keys by reference, and what is asked of it."""

    def __init__(self, **keys: str) -> None:
        self.keys = {ARN: "from-arn", **keys}
        self.forgotten: list[str] = []
        self.renewable = True

    def resolve(self, reference: str, deadline_ms: int) -> str:
        return self.keys.get(reference, reference)

    def forget(self, reference: str) -> bool:
        self.forgotten.append(reference)
        return self.renewable and reference.startswith("arn:")


@pytest.fixture
def safe() -> Safe:
    return Safe()


@pytest.fixture
def server():
    with ApiServer(CHAT["text"]) as running:
        yield running


@pytest.fixture
def opened(safe):
    providers = []

    def make(kind: str, configured: dict | None = None, **environ: str):
        settings = Settings.from_environ({"AWS_REGION": "eu-north-1", **environ})
        clock = SystemClock()
        credentials = CredentialSource(settings, clock)
        around = Surroundings(
            settings, credentials, safe, clock, ProviderSettings(kind, **(configured or {}))
        )
        providers.append(OPENERS[kind](kind, around))
        return providers[-1]

    yield make
    for provider in providers:
        provider.close()


def ask(provider, deadline_ms: int) -> None:
    provider.chat("m", ASKED, deadline_ms=deadline_ms)


# Where


def test_the_configuration_wins_over_the_variable(opened, server, deadline_ms) -> None:
    provider = opened(
        "openai",
        {"base_url": f"{server.url}/other/v1/", "api_key": "k"},
        OPENAI_BASE_URL="http://127.0.0.1:1/v1",
    )
    ask(provider, deadline_ms)

    assert server.asked[0].target == "/other/v1/chat/completions"


def test_the_original_of_a_variable_that_was_pointed_at_the_sidecar(
    opened, server, deadline_ms
) -> None:
    provider = opened(
        "openai",
        OPENAI_BASE_URL="http://127.0.0.1:2772/openai/v1",
        LAMBDALLM_UPSTREAM_OPENAI_BASE_URL=f"{server.url}/v1",
        OPENAI_API_KEY="lambdallm-0123",
        LAMBDALLM_UPSTREAM_OPENAI_API_KEY="the-users-own",
    )
    ask(provider, deadline_ms)

    assert server.asked[0].headers["authorization"] == "Bearer the-users-own"


def test_a_key_that_the_functions_code_has_set_since_then_is_used(
    opened, server, deadline_ms
) -> None:
    provider = opened(
        "openai",
        OPENAI_BASE_URL=f"{server.url}/v1",
        OPENAI_API_KEY="fetched-by-the-code",
        LAMBDALLM_UPSTREAM_OPENAI_API_KEY="",
    )
    ask(provider, deadline_ms)

    assert server.asked[0].headers["authorization"] == "Bearer fetched-by-the-code"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
@pytest.mark.parametrize("upstream", [None, ""])
def test_our_own_address_is_nobody_s_upstream(opened, host, upstream) -> None:
    variables = {"OPENAI_BASE_URL": f"http://{host}:2800/openai/v1", "LAMBDALLM_PORT": "2800"}
    if upstream is not None:
        variables["LAMBDALLM_UPSTREAM_OPENAI_BASE_URL"] = upstream

    provider = opened("openai", OPENAI_API_KEY="k", **variables)

    assert provider.address == "https://api.openai.com/v1"


def test_a_compatible_server_must_be_somewhere(opened) -> None:
    with pytest.raises(SettingError, match="LAMBDALLM_OPENAI_COMPATIBLE_URL"):
        opened("openai-compatible")
    with pytest.raises(SettingError, match="is not a URL"):
        opened("openai-compatible", {"base_url": "localhost:11434"})


def test_anthropic_s_address_may_end_in_v1(opened, server, deadline_ms) -> None:
    server.replies[:] = [MESSAGES["text"]]
    for base in (server.url, f"{server.url}/v1", f"{server.url}/proxy/v1/"):
        ask(opened("anthropic", ANTHROPIC_BASE_URL=base, ANTHROPIC_API_KEY="k"), deadline_ms)

    targets = [asked.target for asked in server.asked]
    assert targets == ["/v1/messages", "/v1/messages", "/proxy/v1/messages"]


# Keys


def test_a_missing_key_is_told_before_anything_is_sent(opened, server, deadline_ms) -> None:
    for provider, name in (
        (opened("openai", OPENAI_BASE_URL=server.url), "OPENAI_API_KEY"),
        (opened("anthropic", ANTHROPIC_BASE_URL=server.url), "ANTHROPIC_API_KEY"),
    ):
        with pytest.raises(SettingError, match=name):
            ask(provider, deadline_ms)
        with pytest.raises(SettingError, match=name):
            provider.stream("m", ASKED, deadline_ms=deadline_ms)
    assert server.asked == []


def test_a_compatible_server_may_want_none(opened, server, deadline_ms) -> None:
    ask(opened("openai-compatible", {"base_url": server.url}), deadline_ms)
    ask(opened("openai-compatible", {"base_url": server.url, "api_key": "k"}), deadline_ms)

    first, second = server.asked
    assert "authorization" not in first.headers
    assert second.headers["authorization"] == "Bearer k"


def test_the_key_of_one_compatible_server_does_not_go_to_another(
    opened, server, deadline_ms
) -> None:
    provider = opened(
        "openai-compatible",
        {"base_url": server.url},
        LAMBDALLM_OPENAI_COMPATIBLE_KEY="of-another",
        OPENAI_API_KEY="of-openai",
    )
    ask(provider, deadline_ms)

    assert "authorization" not in server.asked[0].headers


def test_anthropic_takes_a_key_or_a_token(opened, server, deadline_ms) -> None:
    server.replies[:] = [MESSAGES["text"]]
    ask(opened("anthropic", ANTHROPIC_BASE_URL=server.url, ANTHROPIC_API_KEY="k"), deadline_ms)
    ask(opened("anthropic", ANTHROPIC_BASE_URL=server.url, ANTHROPIC_AUTH_TOKEN="t"), deadline_ms)

    first, second = server.asked
    assert first.headers["x-api-key"] == "k"
    assert "authorization" not in first.headers
    assert second.headers["authorization"] == "Bearer t"
    assert "x-api-key" not in second.headers
    assert first.headers["anthropic-version"] == "2023-06-01"


def test_the_variable_may_hold_an_arn(opened, server, deadline_ms) -> None:
    ask(opened("openai", OPENAI_BASE_URL=server.url, OPENAI_API_KEY=ARN), deadline_ms)

    assert server.asked[0].headers["authorization"] == "Bearer from-arn"


def test_a_fetched_key_that_is_refused_is_fetched_anew(opened, server, safe, deadline_ms) -> None:
    server.replies[:] = [CHAT["forbidden"], CHAT["text"]]
    provider = opened("openai", {"base_url": server.url, "api_key": ARN})

    with pytest.raises(ProviderError) as caught:
        ask(provider, deadline_ms)
    safe.keys[ARN] = "rotated"
    ask(provider, deadline_ms)

    assert caught.value.retryable
    assert safe.forgotten == [ARN]
    assert server.asked[1].headers["authorization"] == "Bearer rotated"


def test_a_key_that_is_simply_wrong_is_not_asked_with_again(
    opened, server, safe, deadline_ms
) -> None:
    safe.renewable = False
    server.replies[:] = [CHAT["forbidden"]]
    for key in (ARN, "literal"):
        provider = opened("openai", {"base_url": server.url, "api_key": key})
        with pytest.raises(ProviderError) as caught:
            ask(provider, deadline_ms)
        assert not caught.value.retryable


def test_a_server_that_repeats_the_key_does_not_get_it_into_the_error(
    opened, server, deadline_ms
) -> None:
    body = json.dumps({"error": {"message": "bad key hunter2-secret, try another"}}).encode()
    server.replies[:] = [Reply(401, {"content-type": "application/json"}, (body,))]
    provider = opened("openai", {"base_url": server.url, "api_key": "hunter2-secret"})

    for method in (provider.chat, provider.stream):
        with pytest.raises(ProviderError) as caught:
            method("m", ASKED, deadline_ms=deadline_ms)
        assert "hunter2" not in f"{caught.value!r} {caught.value.to_problem()}"
        assert "try another" in str(caught.value)


def test_real_secrets_take_what_the_variables_hold(open_named, server, deadline_ms) -> None:
    provider = open_named("openai", OPENAI_BASE_URL=server.url, OPENAI_API_KEY=" k-1\n")
    ask(provider, deadline_ms)

    assert server.asked[0].headers["authorization"] == "Bearer k-1"


# Names


def test_a_configured_provider_is_asked_by_its_own_name(server, deadline_ms) -> None:
    named = {"groq": ProviderSettings("openai-compatible", base_url=f"{server.url}/openai/v1")}
    settings = Settings.from_environ({"AWS_REGION": "eu-north-1"})
    settings = settings._replace(configuration=Configuration(providers=named))
    clock = SystemClock()
    provider = open_provider("groq", settings, CredentialSource(settings, clock), Safe(), clock)
    try:
        provider.chat("meta/llama-4", ASKED, deadline_ms=deadline_ms)
        server.replies[:] = [CHAT["throttled"]]
        with pytest.raises(ProviderError, match="groq refused meta/llama-4") as caught:
            provider.chat("meta/llama-4", ASKED, deadline_ms=deadline_ms)
    finally:
        provider.close()

    assert server.asked[0].json["model"] == "meta/llama-4"
    assert caught.value.source == "groq"


# Headers


def test_headers_of_the_configuration_and_of_the_account(opened, server, deadline_ms) -> None:
    provider = opened(
        "openai",
        {"base_url": server.url, "headers": {"X-Team": "blue"}},
        OPENAI_API_KEY="k",
        OPENAI_ORG_ID="org-1",
        OPENAI_PROJECT_ID="proj-1",
    )
    ask(provider, deadline_ms)

    headers = server.asked[0].headers
    assert headers["x-team"] == "blue"
    assert (headers["openai-organization"], headers["openai-project"]) == ("org-1", "proj-1")


# A client's own request


def test_a_client_s_request_is_passed_on_byte_for_byte(opened, server, deadline_ms) -> None:
    body = b'{ "model":"gpt-4.1",\t"messages": [] , "stream" :true}'
    server.replies[:] = [CHAT["text_stream"]]
    provider = opened(
        "openai",
        {"base_url": f"{server.url}/v1", "headers": {"X-Team": "blue"}},
        OPENAI_API_KEY="k",
        OPENAI_ORG_ID="org-env",
    )
    headers = [
        ("content-type", "application/json"),
        ("openai-organization", "org-client"),
        ("x-team", "red"),
        ("x-stainless-lang", "python"),
    ]
    request = RawRequest("POST", "/chat/completions", "a=%2F&b", headers, body)

    reply = provider.forward(request, deadline_ms=deadline_ms)
    received = b""
    while piece := reply.read():
        received += piece

    (asked,) = server.asked
    assert (asked.target, asked.body) == ("/v1/chat/completions?a=%2F&b", body)
    assert asked.headers["authorization"] == "Bearer k"
    assert asked.headers["openai-organization"] == "org-client"
    assert asked.headers["x-team"] == "blue"
    assert asked.headers["x-stainless-lang"] == "python"
    assert received == b"".join(CHAT["text_stream"].pieces)
    assert reply.status == 200


def test_other_paths_and_methods_are_passed_on_too(opened, server, deadline_ms) -> None:
    server.replies[:] = [Reply(404, {"x-a": "b"}, (b"no",))]
    provider = opened("anthropic", ANTHROPIC_BASE_URL=server.url, ANTHROPIC_API_KEY="k")

    reply = provider.forward(
        RawRequest("GET", "/v1/models/x", "", [("anthropic-version", "2024-01-01")], b""),
        deadline_ms=deadline_ms,
    )

    assert (reply.status, reply.read(), dict(reply.headers)["x-a"]) == (404, b"no", "b")
    assert reply.read() == b""
    (asked,) = server.asked
    assert (asked.method, asked.target, asked.body) == ("GET", "/v1/models/x", b"")
    assert asked.headers["anthropic-version"] == "2024-01-01"


def test_a_refused_key_of_a_forwarded_request_is_fetched_anew(
    opened, server, safe, deadline_ms
) -> None:
    server.replies[:] = [CHAT["forbidden"]]
    provider = opened("openai", {"base_url": server.url, "api_key": ARN})
    request = RawRequest("POST", "/chat/completions", "", [], b"{}")

    reply = provider.forward(request, deadline_ms=deadline_ms)
    reply.close()

    assert reply.status == 401
    assert safe.forgotten == [ARN]


# What an API does not have, and threads


def test_anthropic_has_none(opened, deadline_ms) -> None:
    provider = opened("anthropic", ANTHROPIC_API_KEY="k")

    with pytest.raises(InvalidRequestError, match="embed"):
        provider.embed("claude", {"texts": ["a"]}, deadline_ms=deadline_ms)


def test_threads_share_a_provider(opened, server, deadline_ms) -> None:
    provider = opened("openai", OPENAI_BASE_URL=server.url, OPENAI_API_KEY="k")
    texts = []

    def work() -> None:
        texts.extend(provider.chat("m", ASKED, deadline_ms=deadline_ms).text for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(texts) == 40
    assert set(texts) == {"Die Brücke steht 🌉."}
