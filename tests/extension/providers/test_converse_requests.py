"""What leaves for Bedrock, and what is refused before anything leaves."""

import pytest

from lambdallm_extension.errors import InvalidRequestError

USER = {"role": "user", "content": "Hi"}
NEW_CLAUDE = "global.anthropic.claude-haiku-4-5-20251001-v1:0"


@pytest.mark.parametrize(
    ("model_id", "sent"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", {"temperature": 0.5, "topP": 0.9}),
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", {"temperature": 0.5, "topP": 0.9}),
        ("anthropic.claude-v2:1", {"temperature": 0.5, "topP": 0.9}),
        ("anthropic.claude-instant-v1", {"temperature": 0.5, "topP": 0.9}),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", {"temperature": 0.5, "topP": 0.9}),
        ("us.anthropic.claude-opus-4-1-20250805-v1:0", {"temperature": 0.5}),
        (NEW_CLAUDE, {"temperature": 0.5}),
        ("eu.anthropic.claude-sonnet-4-6", {"temperature": 0.5}),
        ("anthropic.claude-opus-4-6-v1", {"temperature": 0.5}),
        (f"arn:aws:bedrock:us-east-1:1:inference-profile/{NEW_CLAUDE}", {"temperature": 0.5}),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", {"temperature": 0.5}),
        ("us.anthropic.claude-opus-4-7", None),
        ("global.anthropic.claude-haiku-5-5", None),
        ("us-gov.anthropic.claude-fable-5-1", None),
        ("us.anthropic.claude-mythos-preview", None),
        ("global.openai.gpt-5.6-sol", None),
        ("openai.gpt-oss-120b-1:0", {"temperature": 0.5, "topP": 0.9}),
        ("us.amazon.nova-micro-v1:0", {"temperature": 0.5, "topP": 0.9}),
    ],
)
def test_sampling_parameters_go_as_the_model_takes_them(bedrock, deadline_ms, model_id, sent):
    provider = bedrock("ok")

    request = {"messages": [USER], "temperature": 0.5, "top_p": 0.9}
    provider.chat(model_id, request, deadline_ms=deadline_ms)

    assert provider.server.requests[0].body.get("inferenceConfig") == sent


def test_top_p_alone_is_sent_where_one_is_taken(bedrock, deadline_ms):
    provider = bedrock("ok")

    provider.chat(NEW_CLAUDE, {"messages": [USER], "top_p": 0.9}, deadline_ms=deadline_ms)

    assert provider.server.requests[0].body["inferenceConfig"] == {"topP": 0.9}


def test_zero_is_a_temperature(bedrock, deadline_ms):
    provider = bedrock("ok")

    provider.chat(NEW_CLAUDE, {"messages": [USER], "temperature": 0}, deadline_ms=deadline_ms)

    assert provider.server.requests[0].body["inferenceConfig"] == {"temperature": 0}


def test_nothing_is_sent_that_was_not_given(bedrock, deadline_ms):
    provider = bedrock("ok")

    provider.chat("us.amazon.nova-micro-v1:0", {"messages": [USER]}, deadline_ms=deadline_ms)

    assert provider.server.requests[0].body == {
        "messages": [{"role": "user", "content": [{"text": "Hi"}]}]
    }


def test_neighbours_of_one_role_become_one_message(bedrock, deadline_ms):
    provider = bedrock("ok")
    turns = [USER, {"role": "user", "content": [{"text": "there"}]}]

    provider.chat("us.amazon.nova-micro-v1:0", {"messages": turns}, deadline_ms=deadline_ms)

    assert provider.server.requests[0].messages == [
        {"role": "user", "content": [{"text": "Hi"}, {"text": "there"}]}
    ]
    assert turns[0] == USER, "the caller's messages are as they were"
    assert turns[1] == {"role": "user", "content": [{"text": "there"}]}


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "no message"),
        ([{"role": "assistant", "content": "Hi"}], "begins with an assistant"),
        ([{"role": "system", "content": "Be kind."}], "no message"),
        ([USER, {"role": "assistant", "content": ""}], "Message 1 has a blank text"),
        ([{"role": "user", "content": [{"text": " \n"}]}], "Message 0 has a blank text"),
        ([{"role": "user", "content": []}], "content of message 0"),
        ([{"role": "user", "content": None}], "content of message 0"),
        ([{"role": "user", "content": ["text"]}], "holds a str"),
        ([{"role": "tool", "content": "x"}], "role 'tool'"),
    ],
)
def test_what_converse_would_refuse_never_leaves(bedrock, deadline_ms, messages, words):
    provider = bedrock("ok")

    with pytest.raises(InvalidRequestError, match=words):
        provider.chat("us.amazon.nova-micro-v1:0", {"messages": messages}, deadline_ms=deadline_ms)

    assert provider.server.requests == []


def test_a_number_that_json_does_not_know_never_leaves(bedrock, deadline_ms):
    provider = bedrock("ok")

    request = {"messages": [USER], "temperature": float("nan")}
    with pytest.raises(InvalidRequestError, match="JSON"):
        provider.chat("us.amazon.nova-micro-v1:0", request, deadline_ms=deadline_ms)

    assert provider.server.requests == []


def test_a_call_is_signed_for_the_region_it_names(bedrock, deadline_ms):
    provider = bedrock("here", "there", "here again")
    for region in ("", "eu-west-1", ""):
        request = {"messages": [USER], **({"region": region} if region else {})}
        provider.chat("us.amazon.nova-micro-v1:0", request, deadline_ms=deadline_ms)

    scopes = [
        request.headers["authorization"].split("/")[2] for request in provider.server.requests
    ]
    assert scopes == ["us-east-1", "eu-west-1", "us-east-1"]


def test_connections_are_replaced_after_a_freeze(bedrock, deadline_ms):
    provider = bedrock("one", "two")
    provider.reopen()
    first = provider.chat("m", {"messages": [USER]}, deadline_ms=deadline_ms)
    provider.reopen()
    second = provider.chat("m", {"messages": [USER]}, deadline_ms=deadline_ms)

    assert (first.text, second.text) == ("one", "two")


def test_somebody_elses_bedrock_answers(ministack, open_named, deadline_ms):
    provider = open_named("bedrock", AWS_ENDPOINT_URL=ministack)

    answer = provider.chat(
        "anthropic.claude-3-haiku-20240307-v1:0",
        {
            "messages": [USER, {"role": "assistant", "content": "Hello"}, USER],
            "system": "Be kind.",
            "max_tokens": 50,
        },
        deadline_ms=deadline_ms,
    )

    assert answer.text
    assert answer.finish_reason == "stop"
    assert answer.usage["uncached_input_tokens"] > 0
    assert answer.usage["output_tokens"] > 0
