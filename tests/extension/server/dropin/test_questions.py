"""What the books have to know of a client's request, and that its bytes stay as they are."""

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from lambdallm_extension.server.dropin.questions import (
    Question,
    find_service,
    leaves_base,
    read_question,
)


def read(service: Any, path: str, asked: Any, method: str = "POST") -> Question | None:
    body = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
    return read_question(service, method, path, body)


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/openai/v1", "openai"), ("/openai/v1/models", "openai"), ("/openai/v2/models", None),
        ("/openai/v1x", None), ("/anthropic/v1/messages", "anthropic"), ("/anthropicx", None),
        ("/bedrock/model/x/converse", "bedrock"), ("/v1/chat", None), ("/", None), ("", None),
    ],
)  # fmt: skip
def test_a_path_belongs_to_one_service(path: str, service: str | None) -> None:
    assert find_service(path) == service


@pytest.mark.parametrize(
    ("service", "path", "asked", "question"),
    [
        ("openai", "/chat/completions", {"model": "gpt"}, ("openai.chat", "gpt", False, "chat")),
        ("openai", "/chat/completions", {"model": "gpt", "stream": True},
         ("openai.chat", "gpt", True, "chat")),
        ("openai", "/responses", {"model": "gpt", "stream": True},
         ("openai.responses", "gpt", True, "chat")),
        ("openai", "/embeddings", {"model": "e", "stream": True},
         ("openai.embeddings", "e", False, "embeddings")),
        ("anthropic", "/v1/messages", {"model": "c", "stream": True},
         ("anthropic.messages", "c", True, "chat")),
        ("bedrock", "/model/a.b-v1%3A0/converse", {},
         ("bedrock.converse", "a.b-v1:0", False, "chat")),
        ("bedrock", "/model/a.b-v1:0/converse-stream", {},
         ("bedrock.converse", "a.b-v1:0", True, "chat")),
        ("bedrock", "/model/amazon.titan-embed-text-v2%3A0/invoke", {},
         ("bedrock.invoke", "amazon.titan-embed-text-v2:0", False, "embeddings")),
        ("bedrock", "/model/x/invoke-with-response-stream", {},
         ("bedrock.invoke", "x", True, "chat")),
        ("bedrock", "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aprompt-router%2Fa/converse", {},
         ("bedrock.converse", "arn:aws:bedrock:us-east-1:1:prompt-router/a", False, "chat")),
        ("bedrock", "/model/arn:aws:bedrock:us-east-1:1:prompt-router/a/converse", {},
         ("bedrock.converse", "arn:aws:bedrock:us-east-1:1:prompt-router/a", False, "chat")),
        ("bedrock", "/openai/v1/chat/completions", {"model": "gpt-oss"},
         ("openai.chat", "gpt-oss", False, "chat")),
        ("bedrock", "/anthropic/v1/messages", {"model": "c"},
         ("anthropic.messages", "c", False, "chat")),
    ],
)  # fmt: skip
def test_what_is_read(service: str, path: str, asked: Any, question: tuple[Any, ...]) -> None:
    found = read(service, path, asked)

    assert found is not None
    assert (found.dialect, found.model_id, found.streamed, found.operation) == question
    if found.dialect != "openai.chat" or not found.streamed:
        assert (found.body, found.hide) == (json.dumps(asked).encode(), None)


@pytest.mark.parametrize(
    ("service", "method", "path"),
    [
        ("openai", "GET", "/chat/completions"), ("openai", "POST", "/files"),
        ("openai", "POST", "/chat/completions/"), ("anthropic", "POST", "/v1/messages/batches"),
        ("anthropic", "POST", "/v1/messages/count_tokens"), ("anthropic", "POST", "/messages"),
        ("bedrock", "POST", "/model/x/count-tokens"), ("bedrock", "POST", "/model/converse"),
        ("bedrock", "POST", "/guardrail/x/apply"), ("bedrock", "POST", "/"),
        ("bedrock", "POST", "/model/"), ("bedrock", "POST", "/bedrock/model/x/converse"),
        ("bedrock", "GET", "/model/x/converse"), ("bedrock", "POST", "/openai/v1/files"),
    ],
)  # fmt: skip
def test_everything_else_is_passed_on_unread(service: str, method: str, path: str) -> None:
    assert read(service, path, {"model": "m", "stream": True}, method) is None


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"5", b"nonsense", b"\xff", b"[" * 99_999, b'{"model": 5, "stream": 1}']
)
@pytest.mark.parametrize("path", ["/chat/completions", "/responses", "/embeddings"])
def test_of_what_is_no_request_the_api_says_so_itself(path: str, body: bytes) -> None:
    question = read("openai", path, body)

    assert question is not None
    assert (question.model_id, question.streamed, question.body) == ("", False, body)


# Usage that is asked for in the client's place


OPTION = b'"stream_options":{"include_usage":true},'

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=4,
)


@settings(max_examples=40)
@given(
    fields=st.dictionaries(st.text().filter(lambda name: name != "stream_options"), values),
    indent=st.none() | st.integers(0, 3),
    escaped=st.booleans(),
)
def test_the_bytes_of_a_body_stay_as_they_are_but_for_the_option(
    fields: dict[str, Any], indent: int | None, escaped: bool
) -> None:
    asked = {**fields, "stream": True}
    body = json.dumps(asked, indent=indent, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    question = read("openai", "/chat/completions", body)

    assert question is not None
    if not question.streamed:  # lone surrogates as bytes are no UTF-8, and so no JSON
        assert question.body == body
        return
    assert question.hide is not None
    assert question.body.replace(OPTION, b"", 1) == body
    assert json.loads(question.body) == {**asked, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize(
    "options", [None, {}, {"include_usage": False}, {"include_obfuscation": False}]
)
def test_other_options_stay_beside_the_one_that_is_added(options: Any) -> None:
    asked = {"model": "gpt", "stream": True, "stream_options": options, "x": "ü\ud800"}
    question = read("openai", "/chat/completions", asked)

    assert question is not None
    assert question.hide is not None
    assert json.loads(question.body) == {
        **asked, "stream_options": {**(options or {}), "include_usage": True},
    }  # fmt: skip


@pytest.mark.parametrize(
    "options", [{"include_usage": True}, {"include_usage": True, "x": 1}, "wrong", [1], 0]
)
def test_what_the_client_wants_itself_or_has_wrong_is_left_alone(options: Any) -> None:
    asked = {"model": "gpt", "stream": True, "stream_options": options}
    question = read("openai", "/chat/completions", asked)

    assert question is not None
    assert (question.body, question.hide) == (json.dumps(asked).encode(), None)


def test_a_body_in_another_encoding_stays_json() -> None:
    asked = {"model": "gpt", "stream": True}
    question = read("openai", "/chat/completions", json.dumps(asked).encode("utf-16"))

    assert question is not None
    assert json.loads(question.body) == {**asked, "stream_options": {"include_usage": True}}


@given(st.text(), st.sampled_from(["converse", "invoke", "converse-stream"]))
def test_any_path_is_read_without_a_fault(text: str, action: str) -> None:
    path = "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "replace"))

    for target in (f"/model/{path}/{action}", f"/model/{path}%/{action}", f"/model/%{path[:1]}/x"):
        read("bedrock", target, {})


@pytest.mark.parametrize(
    "path", ["/../x", "/a/..", "/./a", "/%2e%2e/x", "/%2E./x", "/a/%252e%252e/b"]
)
def test_dot_segments_leave_the_base_however_they_are_written(path: str) -> None:
    assert leaves_base(path)
    assert not leaves_base(path.replace(".", "a").replace("2e", "41").replace("2E", "41"))
