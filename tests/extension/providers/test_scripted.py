"""The scripted provider: what a script says, in order, at a usage that can be asserted."""

import json

import pytest

from lambdallm_extension import price_book
from lambdallm_extension.errors import InvalidRequestError, ProviderError, SettingError
from lambdallm_extension.model_ports import RawRequest


def user(text):
    return {"role": "user", "content": text}


@pytest.fixture
def ask(open_named, deadline_ms):
    """Open a script, and return what asks it."""

    def make(script, model_id="demo"):
        text = script if isinstance(script, str) else json.dumps(script)
        provider = open_named("scripted", LAMBDALLM_SCRIPT=text)

        def chat(*messages, model_id=model_id, **options):
            request = {"messages": list(messages), **options}
            return provider.chat(model_id, request, deadline_ms=deadline_ms)

        return chat

    return make


def test_answers_come_in_order_and_then_from_the_start(ask):
    chat = ask(["one", "two"])

    assert [chat(user("Hi")).text for _ in range(3)] == ["one", "two", "one"]


def test_without_a_script_it_repeats_the_user(ask):
    assert ask("")(user("Hi")).text == "You said: Hi"


def test_an_answer_refers_to_the_conversation(ask):
    chat = ask(["{count}: {last} ({system})"])

    answer = chat(
        user("first"),
        {"role": "assistant", "content": "ok"},
        user([{"text": "second"}]),
        system="Be kind.",
    )
    assert answer.text == "2: second (Be kind.)"


def test_braces_of_json_and_of_the_user_stay(ask):
    chat = ask(['{"a": {"b": "{last}"}} {unknown} {'])

    assert chat(user("{count}")).text == '{"a": {"b": "{count}"}} {unknown} {'


def test_usage_follows_the_declared_rule_and_costs_nothing(ask):
    answer = ask(["12345"])(user("12345678"), system="1")

    assert answer.usage["uncached_input_tokens"] == 3  # 9 characters
    assert answer.usage["output_tokens"] == 2  # 5 characters
    assert answer.model == "scripted/demo"
    price = price_book.find(answer.model, 1_790_000_000_000)
    assert price_book.cost_pico_usd(price, answer.usage) == 0


def test_a_limit_cuts_the_answer(ask):
    answer = ask(["123456789"])(user("Hi"), max_tokens=2)

    assert (answer.text, answer.usage["output_tokens"], answer.finish_reason) == (
        "12345678",
        2,
        "length",
    )


def test_an_answer_can_declare_its_usage(ask):
    script = [{"text": "Hi", "input_tokens": 14, "output_tokens": 9, "cache_read_tokens": 3}]

    usage = ask(script)(user("Hi")).usage

    assert (usage["uncached_input_tokens"], usage["output_tokens"]) == (14, 9)
    assert usage["cache_read_tokens"] == 3


def test_each_model_has_its_own_place(ask):
    chat = ask({"models": {"router": ["chat", "math"]}, "answers": ["a", "b"]})

    said = [chat(user("?"), model_id=name).text for name in ("router", "x", "router", "y")]
    assert said == ["chat", "a", "math", "b"]


def test_a_script_can_fail(ask):
    chat = ask([{"error": "ThrottlingException", "status": 429, "retryable": True}, "ok"])

    with pytest.raises(ProviderError) as raised:
        chat(user("Hi"))
    assert (raised.value.status, raised.value.retryable) == (429, True)
    assert chat(user("Hi")).text == "ok"


@pytest.fixture
def stream(open_named, deadline_ms):
    """Open a script, and return what begins its next answer."""

    def make(*script):
        provider = open_named("scripted", LAMBDALLM_SCRIPT=json.dumps(script))

        def begin(**options):
            request = {"messages": [user("Hi there")], **options}
            return provider.stream("demo", request, deadline_ms=deadline_ms)

        return begin

    return make


def pieces_of(stream):
    pieces = []
    while (read := stream.read()) is not None:
        pieces += read
    return pieces


def test_an_answer_is_streamed_word_by_word_and_ends_as_it_would_whole(ask, stream):
    script = {"text": "You said: {last}", "finish_reason": "length", "input_tokens": 14}
    begun = stream(script)()

    pieces = pieces_of(begun)
    assert [piece["text"] for piece in pieces] == ["You ", "said: ", "Hi ", "there"]
    assert begun.answer.ended
    assert begun.answer.to_answer() == ask([script])(user("Hi there"))


def test_an_answer_can_say_its_pieces(stream):
    pieces = pieces_of(stream({"chunks": ["a b", "", "c"], "delay_ms": 1})())

    assert [piece["text"] for piece in pieces] == ["a b", "", "c"]


def test_a_limit_cuts_a_streamed_answer(stream):
    begun = stream("123456 789")(max_tokens=2)

    assert "".join(piece["text"] for piece in pieces_of(begun)) == "123456 7"
    assert begun.answer.finish_reason == "length"


def test_tools_and_reasoning_are_streamed(stream):
    use = {"toolUseId": "t1", "name": "add", "input": {"a": 1}}
    content = [{"reasoningContent": {"reasoningText": {"text": "Hm"}}}, {"toolUse": use}]
    begun = stream({"content": content})()

    assert pieces_of(begun) == [
        {"reasoning": "Hm"},
        {"tool_use": {"index": 1, "id": "t1", "name": "add"}},
        {"tool_input": {"index": 1, "json": '{"a": 1}'}},
    ]
    assert begun.answer.content == content
    assert begun.answer.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ({"text": "one two three", "cut_after": 1}, "CutStream"),
        ({"chunks": ["one "], "error": "modelStreamErrorException", "sent": True}, "modelStream"),
    ],
)
def test_a_stream_can_break(stream, script, kind):
    begun = stream(script)()
    pieces = begun.read()

    with pytest.raises(ProviderError) as raised:
        begun.read()
    assert raised.value.kind.startswith(kind)
    assert raised.value.sent
    assert pieces == [{"text": "one "}]
    assert begun.answer.text == "one "
    usage, estimated = begun.answer.spent()
    assert estimated
    assert usage["output_tokens"] == 2


def test_a_failure_before_any_piece_is_raised_at_once(stream):
    with pytest.raises(ProviderError, match="ThrottlingException"):
        stream({"error": "ThrottlingException", "retryable": True})()


def test_an_answer_that_is_not_streamed_can_break_too(ask):
    with pytest.raises(ProviderError) as raised:
        ask([{"text": "one two", "cut_after": 1}])(user("Hi"))
    assert (raised.value.sent, raised.value.retryable) == (True, False)


def test_a_script_that_is_too_slow_ends_at_the_deadline(open_named):
    provider = open_named("scripted", LAMBDALLM_SCRIPT='[{"text": "late", "delay_ms": 600000}]')
    begun = provider.stream("demo", {"messages": [user("Hi")]}, deadline_ms=1)

    with pytest.raises(ProviderError) as raised:
        begun.read()
    assert raised.value.kind == "AnswerLost"
    begun.close()
    assert begun.read() is None
    assert not begun.answer.ended


def test_equal_texts_have_equal_vectors(open_named, deadline_ms):
    provider = open_named("scripted")

    answer = provider.embed("e", {"texts": ["a", "b", "a"]}, deadline_ms=deadline_ms)
    first, second, third = answer.vectors
    assert first == third != second
    assert [len(vector) for vector in answer.vectors] == [16, 16, 16]
    assert sum(number * number for number in second) == pytest.approx(1)
    assert answer.usage["uncached_input_tokens"] == 3
    longer = provider.embed("e", {"texts": ["a"], "dimensions": 256}, deadline_ms=deadline_ms)
    assert len(longer.vectors[0]) == 256
    with pytest.raises(InvalidRequestError, match="dimensions"):
        provider.embed("e", {"texts": ["a"], "dimensions": 0}, deadline_ms=deadline_ms)


def test_there_is_no_api_behind_a_script(open_named, deadline_ms):
    with pytest.raises(InvalidRequestError, match="no API"):
        open_named("scripted").forward(
            RawRequest("GET", "/models", "", [], b""), deadline_ms=deadline_ms
        )


def test_a_script_that_does_not_repeat_ends(ask):
    chat = ask({"answers": ["only"], "repeat": False})
    chat(user("Hi"))

    with pytest.raises(ProviderError, match="has 1 answers"):
        chat(user("Hi"))


def test_there_is_nothing_to_answer_without_a_user(ask):
    with pytest.raises(InvalidRequestError):
        ask(["x"])({"role": "assistant", "content": "Hi"})


def test_a_script_can_stand_in_a_file(ask, tmp_path):
    file = tmp_path / "script.json"
    file.write_text('["from a file"]')

    assert ask(str(file))(user("Hi")).text == "from a file"


@pytest.mark.parametrize(
    "script",
    [
        "no-such-file.json",
        "[",
        "[]",
        "[5]",
        '{"answers": "x"}',
        '{"models": 5}',
        '[{"say": "x"}]',
        '[{"chunks": "x"}]',
        '[{"content": [{"image": {}}]}]',
    ],
)
def test_a_bad_script_names_the_variable(ask, script):
    with pytest.raises(SettingError, match="LAMBDALLM_SCRIPT"):
        ask(script)
