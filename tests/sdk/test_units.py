"""Several units of work in one invocation: handlers that call each other, threads, children."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier, Event, Thread
from typing import Any

import pytest

import lambdallm
from fakes.waiting import until
from lambdallm import MemoryStrategy, Session, handler
from lambdallm.testing import Answer, MockLambdaContext, ModelServer

FULL = Session(memory=MemoryStrategy.FULL_HISTORY)

_requests = count(1)
_made: list[str] = []


class Lines:
    """What the sidecar and the SDK wrote."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self._captured = captured
        self._text = ""

    @property
    def all(self) -> list[str]:
        out, err = self._captured.readouterr()
        self._text += out + err
        return self._text.splitlines()

    @property
    def reports(self) -> list[dict[str, Any]]:
        """Of this test's requests; those of sessions by hand come when their connection ends."""
        reports = [json.loads(line) for line in self.all if '"_aws"' in line]
        return [each for each in reports if each["requestId"].partition(".")[0] in _made]

    @property
    def outcomes(self) -> list[tuple[str, int]]:
        return [(report["outcome"], report["Calls"]) for report in self.reports]

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.all if "sidecar has ended" in line or "WARNING" in line]


@pytest.fixture
def lines(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> Lines:
    """A function in Lambda beside a real sidecar."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
    monkeypatch.setenv("LAMBDALLM_MODEL", "scripted/demo")
    monkeypatch.setenv("LAMBDALLM_SCRIPT", json.dumps(["Heard {last}."]))
    request.getfixturevalue("sidecar")
    _made.clear()
    return Lines(capfd)


def context_of(request_id: str) -> MockLambdaContext:
    context = MockLambdaContext()
    context.aws_request_id = request_id
    _made.append(request_id)
    return context


def new_context() -> MockLambdaContext:
    return context_of(f"request-{next(_requests)}")


def answer_of(response: Any) -> Any:
    return json.loads(response["body"])


def say(context: Any, text: str) -> None:
    context.session.add_message("user", text)
    context.session.add_message("assistant", context.invoke(text))


def said(session_id: str) -> list[Any]:
    session = Session(memory=FULL.memory, owner=None).load(session_id)
    return [message.content for message in session.messages]


@handler(session=FULL)
def inner(event: Any, context: Any) -> Any:
    say(context, f"inner {event.get('text', '')}")
    return {"inner": "done"}


@handler(session=FULL)
def outer(event: Any, context: Any) -> Any:
    say(context, "outer, before")
    inner(event, context if event.get("ours") else context.lambda_context)
    say(context, "outer, after")
    return {"outer": "done"}


@handler
def router(event: Any, context: Any) -> Any:
    return inner(event, context)


@pytest.mark.parametrize("ours", [False, True])
def test_a_handler_that_calls_another_one_goes_on(lines: Lines, ours: bool) -> None:
    event = {"session_id": "s", "ours": ours}
    answers = [answer_of(outer(event, new_context())) for _ in range(2)]

    assert answers == [{"outer": "done"}] * 2
    assert lines.outcomes == [("ok", 1), ("ok", 2)] * 2
    assert lines.warnings == []
    assert len({report["workId"] for report in lines.reports}) == 4
    assert len({report["requestId"] for report in lines.reports}) == 2
    own = ["outer, before", "Heard outer, before.", "outer, after", "Heard outer, after."]
    heard = said("s")
    assert sorted(heard) == sorted([*own, "inner ", "Heard inner ."] * 2)


def test_a_router_leaves_the_event_its_identity(lines: Lines) -> None:
    """A redelivery has the request's id again, in another context."""
    for _ in range(2):
        router({"session_id": "s"}, context_of("delivered-twice"))

    assert said("s") == ["inner ", "Heard inner ."]
    assert lines.outcomes == [("ok", 1), ("ok", 0)] * 2


def test_a_redelivery_of_a_nested_event_writes_nothing_twice(lines: Lines) -> None:
    for _ in range(2):
        outer({"session_id": "s"}, context_of("nested-twice"))

    assert len(said("s")) == 6


def test_records_of_one_batch_are_all_kept(lines: Lines) -> None:
    """A plain entry calls a decorated handler for each record, in one invocation."""
    context = new_context()
    for text in "abc":
        inner({"session_id": "s", "text": text}, context)

    assert said("s")[::2] == ["inner a", "inner b", "inner c"]


def test_a_record_that_is_tried_again_after_a_failure_is_the_same_one(lines: Lines) -> None:
    tries = count()

    @handler(session=FULL)
    def failing_once(event: Any, context: Any) -> str:
        say(context, "hello")
        if next(tries) == 0:
            raise KeyError("first")
        return "ok"

    context = new_context()
    with pytest.raises(KeyError):
        failing_once({"session_id": "s"}, context)
    failing_once({"session_id": "s"}, context)

    assert said("s") == ["hello", "Heard hello."]


def test_the_same_key_twice_in_one_invocation_is_one_event(lines: Lines) -> None:
    event = {"body": {"session_id": "s"}, "headers": {"Idempotency-Key": "k"}}
    context = new_context()
    for _ in range(2):
        assert inner(event, context)["statusCode"] == 200

    assert len(said("s")) == 2


def test_two_at_once_in_one_invocation(lines: Lines) -> None:
    both = Barrier(2)

    @handler(session=FULL)
    def together(event: Any, context: Any) -> str:
        both.wait(10)
        say(context, event["text"])
        both.wait(10)
        return "ok"

    context = new_context()
    with ThreadPoolExecutor(2) as pool:
        events = [{"session_id": "s", "text": text} for text in "ab"]
        assert [each["statusCode"] for each in pool.map(together, events, [context] * 2)] == [
            200
        ] * 2

    assert len({report["workId"] for report in lines.reports}) == 2
    assert sorted(said("s")) == ["Heard a.", "Heard b.", "a", "b"]
    assert [outcome for outcome, _ in lines.outcomes if outcome != "ok"] == []
    assert lines.warnings == []


def test_more_invocations_than_are_remembered(lines: Lines) -> None:
    context = new_context()

    @handler
    def first(event: Any, _context: Any) -> str:
        for _ in range(300):
            handler(lambda _event, _context: "x")({"a": 1}, new_context())
        return str(inner({"session_id": "s"}, context))

    first({"a": 1}, context)

    assert said("s") == ["inner ", "Heard inner ."]
    assert "killed" not in {outcome for outcome, _ in lines.outcomes}


# After the end


def late(during: Callable[[Any], Any], **options: Any) -> Any:
    """Run something in a thread of a handler that has returned, and return what came of it."""
    ended, found = Event(), []

    @handler(**options)
    def leave(event: Any, context: Any) -> str:
        def run() -> None:
            assert ended.wait(10)
            try:
                found.append(during(context))
            except lambdallm.LambdaLLMError as error:
                found.append(error)

        threads.append(Thread(target=run))
        threads[0].start()
        return "left"

    threads: list[Thread] = []
    leave({"session_id": "s"}, new_context())
    ended.set()
    threads[0].join(10)
    return found[0]


@pytest.mark.parametrize(
    "during",
    [
        lambda context: context.session.messages,
        lambda context: context.session.add_message("user", "late"),
        lambda context: context.session.save(),
        lambda context: context.session.clear(),
    ],
)
def test_a_session_after_the_end_says_that_it_has_ended(
    lines: Lines, during: Callable[[Any], Any]
) -> None:
    error = late(during, session=FULL)

    assert isinstance(error, lambdallm.InvalidRequestError)
    assert "The unit of work has ended" in error.detail
    assert [outcome for outcome, _ in lines.outcomes] == ["ok"]


def test_a_session_that_was_loaded_beside_has_ended_too(lines: Lines) -> None:
    def load_other(event: Any, context: Any) -> str:
        kept.append(context.session.load("other"))
        return "ok"

    kept: list[Any] = []
    handler(session=FULL)(load_other)({"session_id": "s"}, new_context())

    with pytest.raises(lambdallm.InvalidRequestError, match="has ended"):
        kept[0].add_message("user", "late")


def test_a_call_after_the_end_is_a_unit_of_its_own(lines: Lines) -> None:
    assert late(lambda context: context.invoke("hello")) == "Heard hello."

    assert lines.outcomes == [("ok", 0), ("ok", 1)]
    first, second = lines.reports
    assert (first["requestId"], first["workId"] != second["workId"]) == (second["requestId"], True)


def test_a_call_that_outlives_its_handler_is_told_later(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go = Event(), Event()

    def answer(_conversation: Any) -> Answer:
        asked.set()
        go.wait(10)
        return Answer("late")

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    with ModelServer(answer) as model:
        threads = []

        @handler(model="bedrock/us.amazon.nova-micro-v1:0")
        def leave(event: Any, context: Any) -> str:
            threads.append(Thread(target=context.invoke, args=("hello",)))
            threads[0].start()
            assert asked.wait(10)
            return "left"

        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", model.url)
        lambdallm._transport.replace(lambdallm._embedded.EmbeddedTransport.start())
        leave({"a": 1}, new_context())
        before = lines.reports
        go.set()
        threads[0].join(10)

    assert [report["Calls"] for report in before] == [0]
    own, later = lines.reports
    assert (later["outcome"], later["Calls"], later["FailedInvocations"]) == ("late", 1, 0)
    assert later["workId"] == own["workId"]


# Children


def in_child(action: Callable[[], Any]) -> tuple[int, str]:
    """Run something in a forked child; return its status, and what it says."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(writing, str(action()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as stream:
        text = stream.read()
    return os.waitpid(child, 0)[1], text


@pytest.mark.parametrize("served", ["sidecar", "embedded"])
def test_a_child_asks_for_itself_and_says_nothing_of_a_sidecar(
    lines: Lines, monkeypatch: pytest.MonkeyPatch, served: str
) -> None:
    if served == "embedded":
        monkeypatch.setenv("LAMBDALLM_SIDECAR", "off")

    @handler(session=FULL)
    def fork(event: Any, context: Any) -> Any:
        say(context, "parent, before")
        children = [in_child(lambda: context.invoke("child")) for _ in range(2)]
        say(context, "parent, after")
        return children

    assert answer_of(fork({"session_id": "s"}, new_context())) == [[0, "Heard child."]] * 2
    assert lines.warnings == []
    assert said("s")[::2] == ["parent, before", "parent, after"]
    assert ("ok", 2) in lines.outcomes
    assert not {"error", "killed"} & {outcome for outcome, _ in lines.outcomes}


def test_a_childs_calls_are_reported_beside_its_parents(lines: Lines) -> None:
    @handler
    def fork(event: Any, context: Any) -> int:
        context.invoke("parent")
        return in_child(lambda: context.invoke("child"))[0]

    context = new_context()
    fork({"a": 1}, context)

    until(lambda: len(lines.outcomes) == 2)
    assert sorted(lines.outcomes) == [("forked", 1), ("ok", 1)]
    assert {report["FailedInvocations"] for report in lines.reports} == {0}
    assert all(each["workId"].startswith(context.aws_request_id) for each in lines.reports)


def test_what_a_child_says_is_kept_beside_what_its_parent_says(lines: Lines) -> None:
    @handler(session=FULL)
    def fork(event: Any, context: Any) -> int:
        say(context, "parent, before")
        status, _ = in_child(lambda: say(context, "child"))
        say(context, "parent, after")
        return status

    assert answer_of(fork({"session_id": "s"}, new_context())) == 0
    until(lambda: len(said("s")) == 6)
    assert sorted(said("s")[::2]) == ["child", "parent, after", "parent, before"]


def test_a_child_that_ends_its_parents_handler_leaves_the_unit_to_the_parent(lines: Lines) -> None:
    @handler
    def fork(event: Any, context: Any) -> Any:
        context.invoke("parent")
        return in_child(lambda: context.work.end("ok", "", 1.0))

    assert answer_of(fork({"a": 1}, new_context())) == [0, "None"]
    assert lines.outcomes == [("ok", 1)]
