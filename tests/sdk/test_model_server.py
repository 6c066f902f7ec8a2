"""The scripted model server, as boto3 and a parent process see it."""

import json
import subprocess
import sys

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from lambdallm.testing.model_server import Answer, Failure, ModelServer

MODEL = "global.anthropic.claude-haiku-5-5"


def client_of(url):
    return boto3.client(
        "bedrock-runtime",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture
def converse():
    """Start a server with a script, and return it with boto3's `converse` before it."""
    opened = []

    def make(answers, **options):
        server = ModelServer(answers, **options).start()
        client = client_of(server.url)
        opened.append((client, server))

        def ask(*texts, **arguments):
            roles = ("user", "assistant")
            messages = [
                {"role": roles[place % 2], "content": [{"text": text}]}
                for place, text in enumerate(texts)
            ]
            return client.converse(modelId=MODEL, messages=messages, **arguments)

        return server, ask

    yield make
    for client, server in opened:
        client.close()
        server.close()


def text_of(reply):
    return reply["output"]["message"]["content"][0]["text"]


def test_a_script_is_played_in_order_and_then_from_the_start(converse):
    _, ask = converse(["Hello.", "{count}: {last}"])

    assert text_of(ask("a")) == "Hello."
    assert text_of(ask("a", "Hello.", "b")) == "2: b"
    assert text_of(ask("a")) == "Hello."


def test_a_function_answers_what_it_reads(converse):
    _, ask = converse(lambda messages: messages[-1]["content"][0]["text"].upper())

    assert text_of(ask("loud")) == "LOUD"


def test_usage_follows_the_declared_rule(converse):
    server, ask = converse(["12345"])

    usage = ask("12345678", system=[{"text": "1"}])["usage"]

    assert usage == {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}
    assert server.requests[0].usage == usage


def test_an_answer_says_its_own_usage_and_reason(converse):
    answer = Answer("Hi", stop_reason="content_filtered", input_tokens=14, cache_write_tokens=0)
    reply = converse([answer])[1]("x")

    assert reply["stopReason"] == "content_filtered"
    assert reply["usage"]["inputTokens"] == 14
    assert reply["usage"]["cacheWriteInputTokens"] == 0


def test_the_requests_limit_cuts_the_answer(converse):
    reply = converse(["123456789"])[1]("x", inferenceConfig={"maxTokens": 2})

    assert (text_of(reply), reply["stopReason"]) == ("12345678", "max_tokens")
    assert reply["usage"]["outputTokens"] == 2


def test_requests_are_kept_as_they_came(converse):
    server, ask = converse(["ok"])
    ask("Hi", inferenceConfig={"temperature": 0.5})

    (request,) = server.requests
    assert request.model_id == MODEL
    assert request.path == f"/model/{MODEL}/converse"
    assert request.messages == [{"role": "user", "content": [{"text": "Hi"}]}]
    assert request.body["inferenceConfig"] == {"temperature": 0.5}
    assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256")


def test_a_scripted_failure_is_boto3s_exception(converse):
    _, ask = converse([Failure(429, "ThrottlingException", "Slow down.", retry_after=2), "ok"])

    with pytest.raises(ClientError, match="Slow down") as raised:
        ask("x")
    assert raised.value.response["Error"]["Code"] == "ThrottlingException"
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert raised.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "2"
    assert text_of(ask("x")) == "ok"


@pytest.mark.parametrize("failure", [Failure(0), Failure(200, body=b"x" * 100, cut_after_bytes=10)])
def test_a_connection_can_be_cut(converse, failure):
    server, ask = converse([failure])

    with pytest.raises(ConnectionClosedError):
        ask("x")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "Add a message"),
        ([{"role": "assistant", "content": [{"text": "x"}]}], "start with a user"),
        ([{"role": "user", "content": [{"text": "x"}]}] * 2, "alternate"),
        ([{"role": "user", "content": [{"text": " "}]}], "blank"),
    ],
)
def test_what_converse_refuses_is_refused_without_using_up_an_answer(messages, words):
    with ModelServer(["first"]) as server:
        client = client_of(server.url)
        with pytest.raises(ClientError, match=words) as raised:
            client.converse(modelId=MODEL, messages=messages)
        good = [{"role": "user", "content": [{"text": "x"}]}]
        assert text_of(client.converse(modelId=MODEL, messages=good)) == "first"
        client.close()

    assert raised.value.response["Error"]["Code"] == "ValidationException"


def test_after_its_end_nobody_answers_on_a_kept_connection(converse):
    server, ask = converse(["ok"])
    ask("x")
    server.close()

    with pytest.raises(Exception, match=r"(?i)connect"):
        ask("x")


def test_a_server_that_was_never_started_closes():
    ModelServer(["x"]).close()


def test_a_child_process_prints_its_url_and_ends_with_its_parents_pipe(tmp_path):
    script = tmp_path / "script.json"
    script.write_text(
        json.dumps(
            [
                "{last}!",
                {"status": 429, "error": "ThrottlingException"},
                {"text": "Hm.", "input_tokens": 7},
            ]
        )
    )
    command = [sys.executable, "-m", "lambdallm.testing.model_server", "--script", str(script)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        client = client_of(process.stdout.readline().strip())
        messages = [{"role": "user", "content": [{"text": "Hi"}]}]
        assert text_of(client.converse(modelId=MODEL, messages=messages)) == "Hi!"
        with pytest.raises(ClientError, match="ThrottlingException"):
            client.converse(modelId=MODEL, messages=messages)
        assert client.converse(modelId=MODEL, messages=messages)["usage"]["inputTokens"] == 7
        client.close()
        process.stdin.close()
        assert process.wait(10) == 0


@pytest.mark.parametrize("script", ["[]", "{}", "[5]", '[{"say": "x"}]', "no JSON"])
def test_a_bad_script_is_a_usage_error(tmp_path, script):
    file = tmp_path / "script.json"
    file.write_text(script)

    done = subprocess.run(
        [sys.executable, "-m", "lambdallm.testing.model_server", "--script", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "script.json" in done.stderr
