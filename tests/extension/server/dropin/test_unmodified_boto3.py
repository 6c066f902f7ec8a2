"""The real `boto3`, and Anthropic's own client of Bedrock, unmodified, before servers of others."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import pytest
from botocore.exceptions import ClientError

from fakes.api_server import ApiServer, load
from fakes.served_engine import said, tokens

MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
ARN = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{MODEL}"


def test_boto3_converse(gateway: Any, ministack: str) -> None:
    served = gateway(ministack)
    messages = [{"role": "user", "content": [{"text": "hello"}]}]
    answer = served.bedrock().converse(modelId=MODEL, messages=messages)
    stream = served.bedrock().converse_stream(modelId=MODEL, messages=messages)["stream"]
    events = list(stream)

    used = [event["metadata"]["usage"] for event in events if "metadata" in event]
    whole, streamed = served.records(2)
    assert tokens(whole) == (answer["usage"]["inputTokens"], answer["usage"]["outputTokens"])
    assert tokens(streamed) == (used[0]["inputTokens"], used[0]["outputTokens"])
    assert whole["model"] == f"bedrock/{MODEL}"


def test_boto3_invoke(gateway: Any, ministack: str) -> None:
    served = gateway(ministack)
    body = json.dumps(
        {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 20,
            "messages": [{"role": "user", "content": "hello"}],
        }
    )
    answer = json.loads(served.bedrock().invoke_model(modelId=MODEL, body=body)["body"].read())
    stream = served.bedrock().invoke_model_with_response_stream(modelId=MODEL, body=body)["body"]
    events = [json.loads(event["chunk"]["bytes"]) for event in stream]

    whole, streamed = served.records(2)
    assert events
    used = answer["usage"]
    assert tokens(whole) == (used["input_tokens"], used["output_tokens"])
    assert streamed["state"] == "settled"
    assert streamed["output_tokens"] > 0


def test_boto3_titan_embeddings(gateway: Any, ministack: str) -> None:
    served = gateway(ministack)
    answer = served.bedrock().invoke_model(
        modelId="amazon.titan-embed-text-v2:0", body=json.dumps({"inputText": "hello"})
    )
    used = json.loads(answer["body"].read())

    (record,) = served.records()
    assert record["operation"] == "embeddings"
    assert tokens(record) == (used["inputTextTokenCount"], 0)


def test_an_error_of_bedrock_is_the_clients_own(gateway: Any) -> None:
    recorded = load("bedrock_converse.json")
    messages = [{"role": "user", "content": [{"text": "hello"}]}]
    with ApiServer(recorded.replies["throttled"]) as server:
        served = gateway(server.url)
        with pytest.raises(ClientError) as direct:
            served.bedrock(server.url).converse(modelId=MODEL, messages=messages)
        with pytest.raises(ClientError) as passed:
            served.bedrock().converse(modelId=MODEL, messages=messages)

    assert passed.value.response["Error"] == direct.value.response["Error"]
    assert served.records()[0]["state"] == "failed"


def test_an_inference_profile_is_asked_by_its_arn(gateway: Any) -> None:
    recorded = load("bedrock_converse.json")
    messages = [{"role": "user", "content": [{"text": "hello"}]}]
    with ApiServer(recorded.replies["text"]) as server:
        served = gateway(server.url)
        answer = served.bedrock().converse(modelId=ARN, messages=messages)
        direct = served.bedrock(server.url).converse(modelId=ARN, messages=messages)
        passed, own = (asked.target for asked in server.asked)

    assert passed == own
    assert answer["output"] == direct["output"]
    assert served.records()[0]["model"] == f"bedrock/{ARN}"


def test_anthropics_bedrock_client(gateway: Any, ministack: str) -> None:
    served = gateway(ministack)
    client = served.keep(
        anthropic.AnthropicBedrock(
            base_url=f"{served.url}/bedrock",
            aws_region="us-east-1",
            aws_access_key="ASIATEST",
            aws_secret_key="secret",
            aws_session_token="session",
        )
    )
    answer = client.messages.create(model=MODEL, messages=said("hello"), max_tokens=20)

    (record,) = served.records()
    assert tokens(record) == (answer.usage.input_tokens, answer.usage.output_tokens)
