"""How a provider's calls fail: what may be asked again, and what may be billed."""

import pytest

from fakes.api_server import Reply
from lambdallm_extension.errors import DeadlineError, ProviderError
from lambdallm_extension.settings import SystemClock


@pytest.fixture(params=["chat", "stream"])
def ask(request, case, question, deadline_ms):
    def call() -> object:
        method = getattr(case.provider, request.param)
        return method(case.model_id, question, deadline_ms=deadline_ms)

    return call


def read_until_failure(stream) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        read_all(stream)
    return caught.value


def read_all(stream) -> None:
    while stream.read() is not None:
        pass


@pytest.mark.parametrize("name", ["throttled", "failed", "forbidden"])
def test_a_refusal(case, ask, name, secret) -> None:
    case.answers(name)

    with pytest.raises(ProviderError) as caught:
        ask()

    error = caught.value
    expected = case.expected(name)
    assert {field: getattr(error, field) for field in expected} == expected
    assert secret not in str(error)
    assert secret not in repr(error)
    assert case.model_id in str(error)
    assert error.source == case.provider.name


@pytest.mark.parametrize("name", ["throttled", "failed"])
def test_a_refusal_that_comes_packed(case, ask, name) -> None:
    case.answers(case.reply(name).coded("gzip"))

    with pytest.raises(ProviderError) as caught:
        ask()

    expected = case.expected(name)
    assert {field: getattr(caught.value, field) for field in expected} == expected


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_a_refusal_whose_packing_cannot_be_undone_keeps_its_status(case, ask, coding) -> None:
    throttled = case.reply("throttled")
    headers = {**throttled.headers, "content-encoding": coding}
    case.answers(throttled._replace(headers=headers))

    with pytest.raises(ProviderError) as caught:
        ask()

    assert (caught.value.status, caught.value.retryable) == (429, True)


@pytest.mark.parametrize("damage", ["cut", "garbage", "br"])
def test_a_packed_answer_that_is_damaged_is_lost_and_may_be_billed(
    case, question, deadline_ms, damage
) -> None:
    def damaged(name: str) -> Reply:
        reply = case.reply(name).coded("gzip")
        body = b"".join(reply.pieces)
        if damage == "br":
            return reply._replace(headers={**reply.headers, "Content-Encoding": "br"})
        half = len(body) // 2
        return reply._replace(pieces=(body[:half] + (b"\0" * 99 if damage == "garbage" else b""),))

    case.answers(damaged("text"), damaged("text_stream"))

    with pytest.raises(ProviderError) as caught:
        case.provider.chat(case.model_id, question, deadline_ms=deadline_ms)
    error = read_until_failure(
        case.provider.stream(case.model_id, question, deadline_ms=deadline_ms)
    )

    assert {caught.value.kind, error.kind} <= {"AnswerLost", "MalformedReply"}
    for each in (caught.value, error):
        assert (each.sent, each.retryable, each.status in {0, 200}) == (True, False, True)


def test_an_answer_that_grows_without_end_is_given_up(case, question, deadline_ms) -> None:
    bomb = Reply(200, case.reply("text").headers, (b" " * 40_000_000,)).coded("gzip")
    assert sum(map(len, bomb.pieces)) < 100_000
    case.answers(bomb)

    with pytest.raises(ProviderError, match="longer than 33,554,432 bytes"):
        case.provider.chat(case.model_id, question, deadline_ms=deadline_ms)


def test_a_failure_that_is_told_within_the_stream(case, question, deadline_ms) -> None:
    case.answers("failed_stream")
    stream = case.provider.stream(case.model_id, question, deadline_ms=deadline_ms)

    error = read_until_failure(stream)

    expected = dict(case.expected("failed_stream"))
    assert stream.answer.text == expected.pop("text")
    assert {field: getattr(error, field) for field in expected} == expected
    assert error.sent  # what came before is generated
    assert not stream.answer.ended


def test_a_failure_is_told_though_the_api_then_says_nothing_more(case, question) -> None:
    told = case.reply("failed_stream")
    case.answers(told._replace(pieces=(b"".join(told.pieces),), end="silent"))
    soon = SystemClock().epoch_ms() + 2_000
    stream = case.provider.stream(case.model_id, question, deadline_ms=soon)

    error = read_until_failure(stream)

    assert error.status == case.expected("failed_stream")["status"]
    assert stream.answer.text == case.expected("failed_stream")["text"]


def test_a_stream_that_ends_too_early(case, question, deadline_ms) -> None:
    whole = case.reply("text_stream")
    text = case.expected("text_stream")["text"]
    for pieces in range(len(whole.pieces)):
        case.answers(whole.cut_after(pieces))
        stream = case.provider.stream(case.model_id, question, deadline_ms=deadline_ms)
        if pieces == len(whole.pieces) - 1 and case.says_all_before_its_end:
            read_all(stream)
            assert stream.answer.text == text
            continue

        error = read_until_failure(stream)

        assert (error.kind, error.retryable, error.sent) == ("CutStream", False, True)
        assert text.startswith(stream.answer.text)
        usage, estimated = stream.answer.spent()
        assert estimated
        assert usage["output_tokens"] * 3 >= stream.answer.generated_characters


@pytest.mark.parametrize("end", ["cut", "reset"])
def test_a_connection_that_breaks_within_the_answer(case, question, deadline_ms, end) -> None:
    whole = case.reply("text_stream")
    case.answers(whole.cut_after(len(whole.pieces) // 2)._replace(end=end))
    try:
        stream = case.provider.stream(case.model_id, question, deadline_ms=deadline_ms)
    except ProviderError as failure:  # a reset may overtake the head
        error = failure
    else:
        error = read_until_failure(stream)

    assert (error.kind, error.retryable, error.sent) == ("AnswerLost", False, True)


@pytest.mark.parametrize("end", ["cut", "reset"])
def test_no_answer_at_all(case, ask, end) -> None:
    case.answers(Reply(0, end=end))

    with pytest.raises(ProviderError) as caught:
        ask()

    error = caught.value
    assert (error.kind, error.status, error.retryable) == ("AnswerLost", 0, False)
    assert error.sent


def test_garbage_in_a_stream(case, question, deadline_ms) -> None:
    whole = case.reply("text_stream")
    for garbage in (b"\0" * 64, b'data: {"half\n\n', b"data: {}}\n\n", b"\xff" * 64):
        case.answers(whole._replace(pieces=(*whole.pieces[:2], garbage)))
        stream = case.provider.stream(case.model_id, question, deadline_ms=deadline_ms)

        error = read_until_failure(stream)

        assert error.kind in ("MalformedReply", "CutStream")
        assert (error.status, error.retryable, error.sent) == (200, False, True)


def test_nobody_listens(case, ask) -> None:
    case.server.stop()

    with pytest.raises(ProviderError) as caught:
        ask()

    error = caught.value
    assert (error.kind, error.retryable, error.sent) == ("NotSent", True, False)


def test_no_time_is_left(case, question) -> None:
    past = SystemClock().epoch_ms() - 1

    for method in (case.provider.chat, case.provider.stream):
        with pytest.raises(DeadlineError):
            method(case.model_id, question, deadline_ms=past)
    assert case.server.asked == []


def test_silence_until_the_deadline(case, question) -> None:
    case.answers(case.reply("text_stream").cut_after(2)._replace(end="silent"))
    soon = SystemClock().epoch_ms() + 300
    stream = case.provider.stream(case.model_id, question, deadline_ms=soon)

    error = read_until_failure(stream)

    assert (error.kind, error.retryable, error.sent) == ("AnswerLost", False, True)


def test_a_stream_that_is_read_on_under_other_limits(case, question, deadline_ms) -> None:
    case.answers(case.reply("text_stream").cut_after(2)._replace(end="silent"))
    stream = case.provider.stream(case.model_id, question, deadline_ms=deadline_ms)
    stream.read()

    stream.extend(deadline_ms, 0.05)
    error = read_until_failure(stream)

    assert (error.kind, error.sent) == ("AnswerLost", True)


def test_a_stream_that_is_closed_early_lets_go_of_its_connection(
    case, question, deadline_ms
) -> None:
    case.answers(case.reply("text_stream").cut_after(2)._replace(end="silent"), "text")
    stream = case.provider.stream(case.model_id, question, deadline_ms=deadline_ms)
    stream.read()

    stream.close()
    stream.close()

    assert case.server.wait_left()
    assert case.provider.chat(case.model_id, question, deadline_ms=deadline_ms).text
