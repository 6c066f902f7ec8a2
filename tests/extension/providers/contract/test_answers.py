"""What a provider makes of its API's answers, whole and streamed."""

from urllib.parse import unquote

import pytest

from lambdallm_extension.errors import InvalidRequestError, ProviderError

HELLO = {"messages": [{"role": "user", "content": "Hi"}]}


def fields(answer, expected) -> dict:
    return {name: getattr(answer, name) for name in expected}


def read_all(stream) -> list:
    deltas = []
    while (pieces := stream.read()) is not None:
        deltas += pieces
    return deltas


def text_of(deltas) -> str:
    return "".join(delta.get("text", "") for delta in deltas)


@pytest.mark.parametrize("name", ["text", "tools"])
def test_a_whole_answer(case, tools_question, deadline_ms, name) -> None:
    case.answers(name)

    answer = case.provider.chat(case.model_id, tools_question, deadline_ms=deadline_ms)

    expected = case.expected(name)
    assert fields(answer, expected) == expected
    assert answer.raw_usage


@pytest.mark.parametrize("name", ["text_stream", "tools_stream"])
@pytest.mark.parametrize("cut", ["as recorded", "byte by byte", "at once"])
def test_a_streamed_answer_however_it_is_cut(case, tools_question, deadline_ms, name, cut) -> None:
    reply = case.reply(name)
    if cut == "byte by byte":
        reply = reply.in_bytes()
    elif cut == "at once":
        reply = reply._replace(pieces=(b"".join(reply.pieces),))
    case.answers(reply)

    stream = case.provider.stream(case.model_id, tools_question, deadline_ms=deadline_ms)
    deltas = read_all(stream)

    expected = case.expected(name)
    assert fields(stream.answer.to_answer(), expected) == expected
    assert stream.answer.ended
    assert text_of(deltas) == expected["text"]
    assert stream.answer.spent() == (expected["usage"], False)
    assert stream.read() is None


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_an_answer_that_comes_packed_though_nobody_asked_for_it(
    case, question, deadline_ms, coding
) -> None:
    case.answers(
        case.reply("text").coded(coding),
        case.reply("text_stream").coded(coding).in_bytes(),
        case.reply("text_stream").coded(coding)._replace(end="silent"),
    )

    answer = case.provider.chat(case.model_id, question, deadline_ms=deadline_ms)
    stream = case.provider.stream(case.model_id, question, deadline_ms=deadline_ms)
    deltas = read_all(stream)
    silent = case.provider.stream(case.model_id, question, deadline_ms=deadline_ms)

    expected = case.expected("text")
    assert fields(answer, expected) == expected
    expected = case.expected("text_stream")
    assert fields(stream.answer.to_answer(), expected) == expected
    assert text_of(deltas) == expected["text"]
    first: list = []
    while not first:  # a piece is handed out as it comes, and not when all is there
        first = silent.read()
    silent.close()
    assert case.server.asked[-1].headers["accept-encoding"] == "identity"


def test_a_streamed_call_of_a_tool_is_told_as_it_comes(case, tools_question, deadline_ms) -> None:
    case.answers("tools_stream")

    deltas = read_all(case.provider.stream(case.model_id, tools_question, deadline_ms=deadline_ms))

    begun = [delta["tool_use"] for delta in deltas if "tool_use" in delta]
    assert [(use["id"], use["name"]) for use in begun] == [
        ("call_w1", "weather"),
        ("call_w2", "clock"),
    ]
    first = begun[0]["index"]
    inputs = [delta["tool_input"] for delta in deltas if "tool_input" in delta]
    given = "".join(each["json"] for each in inputs if each["index"] == first)
    assert given.replace(" ", "") == '{"city":"Tromsø","days":3}'


def test_one_request_for_one_question_and_it_names_the_model(case, question, deadline_ms) -> None:
    case.provider.chat(case.model_id, question, deadline_ms=deadline_ms)

    (asked,) = case.server.asked
    assert asked.method == "POST"
    assert case.model_id in asked.body.decode() + unquote(asked.target)
    assert "Steht die Brücke?" in str(asked.json)


def test_connections_are_kept_and_a_closed_provider_opens_new_ones(
    case, question, deadline_ms
) -> None:
    for _ in range(3):
        case.provider.chat(case.model_id, question, deadline_ms=deadline_ms)
    case.provider.reopen()
    case.provider.close()
    case.provider.close()

    answer = case.provider.chat(case.model_id, question, deadline_ms=deadline_ms)

    assert answer.text == case.expected("text")["text"]


@pytest.mark.parametrize(
    "request_",
    [
        {"messages": []},
        {"messages": [{"role": "robot", "content": "Hi"}]},
        {"messages": [{"role": "user", "content": 7}]},
        {"messages": [{"role": "user", "content": ["Hi"]}]},
        {**HELLO, "additional_fields": {"x": float("nan")}},
        {**HELLO, "additional_fields": {"x": {1, 2}}},
    ],
    ids=lambda request: str(request)[:60],
)
def test_what_no_api_takes_is_refused_before_anything_is_sent(case, deadline_ms, request_) -> None:
    with pytest.raises(InvalidRequestError):
        case.provider.chat(case.model_id, request_, deadline_ms=deadline_ms)
    with pytest.raises(InvalidRequestError):
        case.provider.stream(case.model_id, request_, deadline_ms=deadline_ms)

    assert case.server.asked == []


def test_a_200_that_is_no_answer(case, question, deadline_ms) -> None:
    for body in (b"<html>", b"[]", b"null", b'{"x":', b"\xff\xfe", b"[" * 100_000, b'"text"'):
        case.answers(case.reply("text")._replace(pieces=(body,)))
        with pytest.raises(ProviderError) as caught:
            case.provider.chat(case.model_id, question, deadline_ms=deadline_ms)
        error = caught.value
        assert (error.kind, error.status, error.retryable) == ("MalformedReply", 200, False)
        assert error.sent
