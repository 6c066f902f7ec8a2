"""What a handler can ask and read of its invocation, and what goes over the wire for it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

import lambdallm
from lambdallm import Model, ModelConfig, Session, _embedded, _settings, _transport, handler
from lambdallm._context import LambdaLLMContext
from lambdallm._messages import ChatResponse
from lambdallm.testing import MockLambdaContext, MockProvider
from lambdallm_wire import routes

USAGE = {
    "uncached_input_tokens": 10,
    "cache_read_tokens": 5,
    "cache_write_5m_tokens": 0,
    "cache_write_1h_tokens": 0,
    "output_tokens": 7,
}


class Recorder:
    """The embedded engine, but for `chat`, which is written down and answered."""

    usable = True

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.costs: list[int | None] = []
        self._engine = _embedded.EmbeddedTransport.start()

    def request(
        self, route: routes.Route, message: Any, *, timeout_seconds: float
    ) -> dict[str, Any]:
        if route is not routes.CHAT:
            return self._engine.request(route, message, timeout_seconds=timeout_seconds)
        self.asked.append(message)
        cost = self.costs[len(self.asked) - 1] if self.costs else 1_500_000
        return {
            "call_id": message["call_id"],
            "model": message["model"],
            "text": "fine",
            "content": [{"text": "fine"}],
            "finish_reason": "stop",
            "usage": USAGE,
            "cost_pico_usd": cost,
            "latency_ms": 12,
            "attempts": 1,
            "total_cost_pico_usd": sum(each or 0 for each in self.costs[: len(self.asked)])
            or 1_500_000 * len(self.asked),
            "total_unpriced_calls": sum(each is None for each in self.costs[: len(self.asked)]),
        }

    def close(self) -> None:
        self._engine.close()


@pytest.fixture
def asked() -> Recorder:
    recorder = Recorder()
    _transport.replace(recorder)
    return recorder


def run(function: Callable[[Any], Any], event: Any = None, **arguments: Any) -> Any:
    """Run a handler's body and return what it returned."""
    kept: list[Any] = []

    def call(_event: Any, context: Any) -> str:
        kept.append(function(context))
        return "ok"

    handler(**arguments)(call)(event or {"name": "direct"}, MockLambdaContext())
    return kept[0]


# Asking


def test_a_prompt_becomes_one_message(asked: Recorder) -> None:
    assert run(lambda context: context.invoke("Hello")) == "fine"

    request = asked.asked[0]
    assert request["messages"] == [{"role": "user", "content": "Hello"}]
    assert request["model"] == ""  # the engine's own default
    assert request["max_retries"] == 3
    unsaid = {"max_tokens", "temperature", "top_p", "system", "region", "fallback_model"}
    assert not unsaid & request.keys()
    assert len(request["call_id"]) == 32


def test_a_conversation_keeps_its_roles(asked: Recorder) -> None:
    def talk(context: Any) -> str:
        context.session.add_message("system", "Be brief.")
        context.session.add_message("user", "Hello")
        return context.invoke(context.session.format_history())

    run(talk, session=Session())

    assert asked.asked[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
    ]


def test_messages_may_be_given_as_a_list(asked: Recorder) -> None:
    given = [{"role": "user", "content": "Hi", "extra": 1}, lambdallm.Message("assistant", "Yo")]
    expected = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]

    run(lambda context: (context.invoke(given), context.chat(given)))

    assert [request["messages"] for request in asked.asked] == [expected, expected]


@pytest.mark.parametrize("bad", [7, None, [7], [{"role": "user"}], {"role": "user"}])
def test_what_is_no_prompt_is_a_type_error(asked: Recorder, bad: Any) -> None:
    with pytest.raises(TypeError):
        run(lambda context: context.invoke(bad))
    assert asked.asked == []


@pytest.mark.parametrize(
    ("template", "variables", "expected"),
    [
        ("Hello {name}", {"name": "Ada"}, "Hello Ada"),
        ("{a} {b}", {"a": 1, "b": "{a}"}, "1 {a}"),
        ('{"json": {"a": 1}} {name}', {"name": "Ada"}, '{"json": {"a": 1}} Ada'),
        ("Fields: {}, {name}", {"name": "Ada"}, "Fields: {}, Ada"),
        ("{name} and {other}", {"name": "Ada"}, "Ada and {other}"),
        ('{{"k": "{name}"}}', {"name": "Ada"}, '{"k": "Ada"}'),
        ("{price:.2f}", {"price": 1.234}, "1.23"),
        ("{name!r}", {"name": "Ada"}, "'Ada'"),
        ("{name.__class__}", {"name": "Ada"}, "{name.__class__}"),
        ("{name[0]}", {"name": "Ada"}, "{name[0]}"),
        ("{ unclosed {name}", {"name": "Ada"}, "{ unclosed Ada"),
        ("{name}", {"name": None}, "None"),
    ],
)
def test_variables_are_put_in_and_other_braces_stay(
    asked: Recorder, template: str, variables: dict[str, Any], expected: str
) -> None:
    run(lambda context: context.invoke(template, **variables))

    assert asked.asked[0]["messages"][0]["content"] == expected


def test_without_variables_a_prompt_stays_as_it_is(asked: Recorder) -> None:
    run(lambda context: context.invoke('{"a": {{1}}} {name}'))

    assert asked.asked[0]["messages"][0]["content"] == '{"a": {{1}}} {name}'


def test_the_decorators_parameters_go_with_every_call(asked: Recorder) -> None:
    run(
        lambda context: context.invoke("Hi"),
        model=Model.NOVA_PRO,
        system="Be brief.",
        max_tokens=9,
        temperature=0.0,
        max_retries=0,
        fallback_model="openai/gpt-5-mini",
    )

    request = asked.asked[0]
    assert request["model"] == "us.amazon.nova-pro-v1:0"
    assert (request["system"], request["max_tokens"], request["temperature"]) == ("Be brief.", 9, 0)
    assert (request["max_retries"], request["fallback_model"]) == (0, "openai/gpt-5-mini")


def test_a_calls_own_parameters_win(asked: Recorder) -> None:
    run(
        lambda context: context.chat(
            "Hi",
            model="scripted/x",
            system="Now",
            max_tokens=3,
            temperature=1.0,
            top_p=0.5,
            stop_sequences=["END"],
            region="eu-north-1",
            max_retries=1,
            fallback_model=Model.NOVA_LITE,
        ),
        system="Before",
        max_tokens=9,
    )

    request = asked.asked[0]
    del request["work_id"], request["call_id"], request["deadline_epoch_ms"]
    assert request == {
        "model": "scripted/x",
        "messages": [{"role": "user", "content": "Hi"}],
        "system": "Now",
        "max_tokens": 3,
        "temperature": 1.0,
        "top_p": 0.5,
        "stop_sequences": ["END"],
        "region": "eu-north-1",
        "max_retries": 1,
        "fallback_model": "us.amazon.nova-lite-v1:0",
    }


def test_an_unknown_parameter_is_a_type_error(asked: Recorder) -> None:
    with pytest.raises(TypeError, match="temprature"):
        run(lambda context: context.chat("Hi", temprature=1))


def test_a_model_configs_own_values_are_sent_only_when_given(asked: Recorder) -> None:
    for config in (ModelConfig("m"), ModelConfig("m", temperature=0.7, region="eu-west-1")):
        run(lambda context: context.invoke("Hi"), model=config)

    assert "temperature" not in asked.asked[0]
    assert asked.asked[1]["temperature"] == 0.7
    assert asked.asked[1]["region"] == "eu-west-1"


def test_a_router_picks_for_every_call(asked: Recorder) -> None:
    class ByLength:
        def select(self, prompt: str, context: Any) -> Any:
            return Model.NOVA_PRO if len(prompt) > 5 else "nova-micro"

    run(lambda context: (context.invoke("Hi"), context.invoke("Hello there")), router=ByLength())

    assert [request["model"] for request in asked.asked] == [
        "nova-micro",
        "us.amazon.nova-pro-v1:0",
    ]


def test_the_environment_names_the_model(asked: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDALLM_MODEL", "scripted/env")

    run(lambda context: context.invoke("Hi"))

    assert asked.asked[0]["model"] == "scripted/env"


# Answers, money, numbers


def test_chat_returns_all_that_is_known(asked: Recorder) -> None:
    response = run(lambda context: context.chat([{"role": "user", "content": "Hi"}]))

    assert isinstance(response, ChatResponse)
    assert (response.text, response.finish_reason, response.latency_ms) == ("fine", "stop", 12)
    assert response.content == [{"text": "fine"}]
    assert (response.input_tokens, response.output_tokens) == (15, 7)
    assert response.usage == USAGE
    assert (response.cost_pico_usd, response.cost_usd) == (1_500_000, 0.0000015)
    assert response.call_id == asked.asked[0]["call_id"]


def test_the_total_is_exact_and_unknown_prices_are_told(asked: Recorder) -> None:
    asked.costs = [100_000, None, 200_000]

    def ask(context: Any) -> Any:
        before = context.total_cost
        responses = [context.chat("Hi") for _ in range(3)]
        return before, responses[1].cost_usd, context

    before, unknown, context = run(ask)

    assert before == 0
    assert unknown is None
    assert context.total_cost_pico_usd == 300_000
    assert context.total_cost == 0.0000003
    assert context.unpriced_calls == 1


def test_numbers_of_the_invocation(asked: Recorder) -> None:
    def ask(context: Any) -> Any:
        context.invoke("Hi")
        context.invoke("Hi")
        context.metrics.record("mine", 4)
        return context.metrics

    metrics = run(ask)

    assert metrics.get("model.invocations") == 2
    assert metrics.get("model.tokens_in") == 15
    assert metrics.get("mine") == 4
    assert metrics.get("nothing") is None
    everything = metrics.all()
    everything.clear()
    assert metrics.get("handler.success") == 1


# Time


def context_with(lambda_context: Any, timeout_buffer: float = 5) -> LambdaLLMContext:
    return LambdaLLMContext(None, "fail-fast", timeout_buffer, 3, None, lambda_context, [])


class Vague:
    """A mock that answers every call with something that is no number."""

    def get_remaining_time_in_millis(self) -> object:
        return object()


def test_the_time_that_is_left_is_lambdas() -> None:
    assert context_with(MockLambdaContext(timeout_ms=12_345)).remaining_time_ms == 12_345
    assert context_with(None).remaining_time_ms == 900_000
    assert context_with(Vague()).remaining_time_ms == 900_000


def test_the_buffer_is_kept_free(asked: Recorder) -> None:
    with pytest.raises(lambdallm.DeadlineExceededError, match="not asked"):
        context_with(MockLambdaContext(5_100)).invoke("Hi")
    assert asked.asked == []
    assert context_with(MockLambdaContext(4_999)).should_checkpoint
    assert not context_with(MockLambdaContext(5_000)).should_checkpoint

    before = _settings.epoch_ms()
    context_with(MockLambdaContext(30_000)).invoke("Hi")

    assert 24_990 <= asked.asked[0]["deadline_epoch_ms"] - before <= 26_000


def test_in_lambda_the_buffer_takes_at_most_a_quarter_of_the_time(
    asked: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")

    before = _settings.epoch_ms()
    assert context_with(MockLambdaContext(3_000)).invoke("Hi") == "fine"
    assert 2_240 <= asked.asked[0]["deadline_epoch_ms"] - before <= 2_400
    assert not context_with(MockLambdaContext(3_000)).should_checkpoint


# As the Lambda context, and in older tests


def test_it_is_the_lambda_context_too() -> None:
    context = context_with(MockLambdaContext())

    assert context.function_name == "test-function"
    assert context.get_remaining_time_in_millis() == 30_000
    assert context.aws_request_id == context.lambda_context.aws_request_id
    with pytest.raises(AttributeError):
        context.no_such_name  # noqa: B018


def test_it_can_be_made_by_hand(asked: Recorder) -> None:
    context = LambdaLLMContext(
        model=ModelConfig("scripted/x"),
        timeout_strategy="fail-fast",
        timeout_buffer=5,
        max_retries=3,
        fallback_model=None,
        lambda_context=MockLambdaContext(),
        middleware=[],
        session_config=None,
        router=None,
        defaults={"system": "s"},
    )

    assert context.invoke("Hi") == "fine"
    assert context.session is None
    assert context.checkpoint is None


# Nothing of what was said is logged


def test_no_log_line_has_prompt_or_answer_text(
    model: MockProvider, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lambdallm.middleware import LoggingMiddleware

    monkeypatch.setenv("LAMBDALLM_TELEMETRY", "on")
    model.say("answer-text")
    event = {"body": json.dumps({"message": "prompt-text", "session_id": "s"})}

    def talk(context: Any) -> None:
        context.session.add_message("user", "prompt-text")
        context.session.add_message("assistant", context.invoke("prompt-text"))
        raise lambdallm.OutputError("not usable")

    decorated = handler(session=Session(), middleware=[LoggingMiddleware(log_prompts=True)])(
        lambda event, context: talk(context)
    )
    decorated(event, MockLambdaContext())

    written = capsys.readouterr()
    assert written.err
    assert "prompt-text" not in written.out + written.err
    assert "answer-text" not in written.out + written.err
