"""The same call, made by boto3 and by us: equal on the wire, and understood alike."""

import base64
import json
import string
from itertools import groupby
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from hypothesis import given, settings, strategies as st

from fakes.thoroughness import examples
from lambdallm.testing.model_server import Answer, ModelServer
from lambdallm_extension.providers.bedrock.reply import decode
from lambdallm_extension.settings import SystemClock

TAKES_BOTH = [
    "anthropic.claude-3-haiku-20240307-v1:0",
    "us.amazon.nova-micro-v1:0",
    "global.amazon.nova-2-lite-v1:0",
    "us.meta.llama4-scout-17b-instruct-v1:0",
    "arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-8b-instruct-v1:0",
    "arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:inference-profile/us-gov.amazon.nova-pro-v1:0",
]

REPLY = (
    b'{"output":{"message":{"role":"assistant","content":[{"text":"x"}]}},"stopReason":"end_turn"'
)
REPLY += b',"usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2},"metrics":{"latencyMs":1}}'

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(str.strip)
words = st.text(string.ascii_letters + string.digits, min_size=1, max_size=12)
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(words, documents, max_size=3)


def both(block):
    """The same block as our wire carries it and as boto3 takes it."""
    return st.builds(lambda value: (value, value), block)


def with_bytes(kind, media):
    def make(data, name):
        fields = {"format": media} if kind == "image" else {"format": media, "name": name}
        encoded = base64.b64encode(data).decode()
        return (
            {kind: {**fields, "source": {"bytes": encoded}}},
            {kind: {**fields, "source": {"bytes": data}}},
        )

    return st.builds(make, st.binary(min_size=1, max_size=30), words)


blocks = st.one_of(
    both(st.builds(lambda text: {"text": text}, texts)),
    both(st.just({"cachePoint": {"type": "default"}})),
    both(
        st.builds(
            lambda use, name, given_input: {
                "toolUse": {"toolUseId": use, "name": name, "input": given_input}
            },
            words,
            words,
            objects,
        )
    ),
    both(
        st.builds(
            lambda use, result: {"toolResult": {"toolUseId": use, "content": [{"json": result}]}},
            words,
            objects,
        )
    ),
    with_bytes("image", "png"),
    with_bytes("document", "pdf"),
)
contents = texts | st.lists(blocks, min_size=1, max_size=3)
system_texts = texts
messages = st.lists(
    st.tuples(st.sampled_from(["user", "assistant"]), contents)
    | st.tuples(st.just("system"), system_texts),
    min_size=1,
    max_size=6,
).filter(lambda turns: next((role for role, _ in turns if role != "system"), "") == "user")
model_ids = st.sampled_from(TAKES_BOTH) | st.text(
    string.ascii_letters + string.digits + ".:/-_~ %+é", min_size=1, max_size=30
).filter(lambda text: text.strip(". /:") and "claude" not in text and not text.startswith("arn:"))
options = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": st.integers(1, 200_000),
        "temperature": st.floats(0, 1),
        "top_p": st.floats(0, 1),
        "stop_sequences": st.lists(texts, min_size=1, max_size=4),
        "system": texts,
    },
)


class Boto:
    """boto3 before no network: keeps what it would send, and answers with given bytes."""

    def __init__(self, endpoint: str) -> None:
        self.client = boto3.client(
            "bedrock-runtime",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="wJalrXUtnFEMI",
            config=Config(parameter_validation=False, retries={"total_max_attempts": 1}),
        )
        self.client.meta.events.register("before-send.bedrock-runtime.Converse", self._keep)
        self.reply = REPLY

    def _keep(self, request, **_):
        self.sent = request
        raw = type("Raw", (), {"stream": lambda *_, **__: iter([self.reply])})()
        return AWSResponse(request.url, 200, {"content-type": "application/json"}, raw)


@pytest.fixture(scope="module")
def server():
    with ModelServer(["x"]) as server:
        yield server


@pytest.fixture(scope="module")
def boto(server):
    return Boto(server.url)


@pytest.fixture(scope="module")
def ours(server, open_named):
    return open_named("bedrock", AWS_ENDPOINT_URL_BEDROCK_RUNTIME=server.url)


def as_boto(turns, given_options):
    """What a careful user of boto3 writes for the conversation."""

    def blocks_of(content):
        return (
            [{"text": content}] if isinstance(content, str) else [theirs for _, theirs in content]
        )

    system = [{"text": given_options["system"]}] if "system" in given_options else []
    system += [{"text": content} for role, content in turns if role == "system"]
    spoken = [(role, content) for role, content in turns if role != "system"]
    arguments = {
        "messages": [
            {"role": role, "content": [block for _, turn in group for block in blocks_of(turn)]}
            for role, group in groupby(spoken, key=lambda turn: turn[0])
        ]
    }
    if system:
        arguments["system"] = system
    names = {
        "max_tokens": "maxTokens",
        "temperature": "temperature",
        "top_p": "topP",
        "stop_sequences": "stopSequences",
    }
    inference = {names[name]: value for name, value in given_options.items() if name in names}
    if inference:
        arguments["inferenceConfig"] = inference
    return arguments


def as_ours(turns):
    return [
        {
            "role": role,
            "content": content if isinstance(content, str) else [mine for mine, _ in content],
        }
        for role, content in turns
    ]


def signed_parts(authorization):
    """Algorithm, scope and names of the signed headers: all but the signature."""
    return [part for part in authorization.split() if not part.startswith("Signature=")]


@given(model_id=model_ids, turns=messages, given_options=options)
@settings(max_examples=examples(300))
def test_requests_are_equal(ours, boto, server, model_id, turns, given_options):
    boto.client.converse(modelId=model_id, **as_boto(turns, given_options))
    ours.chat(
        model_id,
        {"messages": as_ours(turns), **given_options},
        deadline_ms=SystemClock().epoch_ms() + 20_000,
    )

    sent = server.requests[-1]
    theirs = {name.lower(): value for name, value in boto.sent.headers.items()}
    assert sent.path == urlsplit(boto.sent.url).path
    assert sent.body == json.loads(boto.sent.body)
    assert sent.headers["content-type"] == theirs["content-type"].decode()
    assert signed_parts(sent.headers["authorization"]) == signed_parts(
        theirs["authorization"].decode()
    )


replies = st.fixed_dictionaries(
    {
        "output": st.fixed_dictionaries(
            {
                "message": st.fixed_dictionaries(
                    {
                        "role": st.just("assistant"),
                        "content": st.lists(
                            st.builds(lambda text: {"text": text}, texts)
                            | st.builds(
                                lambda name, given_input: {
                                    "toolUse": {
                                        "toolUseId": "t1",
                                        "name": name,
                                        "input": given_input,
                                    }
                                },
                                words,
                                objects,
                            )
                            | st.builds(
                                lambda text: {
                                    "reasoningContent": {"reasoningText": {"text": text}}
                                },
                                texts,
                            ),
                            max_size=4,
                        ),
                    }
                )
            }
        ),
        "stopReason": st.sampled_from(["end_turn", "max_tokens", "tool_use", "stop_sequence"]),
        "usage": st.fixed_dictionaries(
            {
                "inputTokens": st.integers(0, 10**6),
                "outputTokens": st.integers(0, 10**6),
                "totalTokens": st.integers(0, 10**7),
            },
            optional={
                "cacheReadInputTokens": st.integers(0, 10**6),
                "cacheWriteInputTokens": st.integers(0, 10**6),
            },
        ),
        "metrics": st.just({"latencyMs": 5}),
    }
)


@given(reply=replies)
@settings(max_examples=examples(200))
def test_replies_are_understood_alike(boto, reply):
    boto.reply = json.dumps(reply).encode()
    theirs = boto.client.converse(modelId="us.amazon.nova-micro-v1:0", messages=[])

    answer = decode("us.amazon.nova-micro-v1:0", boto.reply, "r")

    content = theirs["output"]["message"]["content"]
    assert answer.content == content
    assert answer.text == "".join(block.get("text", "") for block in content)
    assert answer.usage["uncached_input_tokens"] == theirs["usage"]["inputTokens"]
    assert answer.usage["output_tokens"] == theirs["usage"]["outputTokens"]
    assert answer.usage["cache_read_tokens"] == theirs["usage"].get("cacheReadInputTokens", 0)
    assert answer.usage["cache_write_5m_tokens"] == theirs["usage"].get("cacheWriteInputTokens", 0)


def test_an_answer_of_the_model_server_is_read_alike_by_both(open_named):
    answers = [Answer("You said {last}.", input_tokens=7, cache_read_tokens=3)]
    with ModelServer(answers) as server:
        client = boto3.client(
            "bedrock-runtime",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="wJalrXUtnFEMI",
        )
        spoken = [{"role": "user", "content": [{"text": "Hi"}]}]
        theirs = client.converse(modelId="us.amazon.nova-micro-v1:0", messages=spoken)
        client.close()
        provider = open_named("bedrock", AWS_ENDPOINT_URL_BEDROCK_RUNTIME=server.url)
        deadline_ms = SystemClock().epoch_ms() + 20_000
        ours = provider.chat("m", {"messages": spoken}, deadline_ms=deadline_ms)

    assert theirs["output"]["message"]["content"] == ours.content == [{"text": "You said Hi."}]
    assert theirs["usage"]["inputTokens"] == ours.usage["uncached_input_tokens"] == 7
    assert theirs["usage"]["cacheReadInputTokens"] == ours.usage["cache_read_tokens"] == 3
    assert theirs["usage"]["outputTokens"] == ours.usage["output_tokens"] == 3
    assert theirs["usage"]["totalTokens"] == 13
    assert theirs["ResponseMetadata"]["RequestId"].startswith("model-server-")
    assert ours.provider_request_id.startswith("model-server-")
