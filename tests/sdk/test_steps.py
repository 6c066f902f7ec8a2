"""`context.step`: plain Python that is done once, however often its event comes."""

import json
from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import pytest

import lambdallm
from fakes.prompted_model import PromptedModel
from lambdallm import Chain, Step, handler
from lambdallm.testing import MockLambdaContext
from lambdallm_wire import routes


class Events:
    """Runs code as a handler of one event, delivered again and again.

    Attributes:
        done: What its steps have done.
    """

    def __init__(self, key: str = "k") -> None:
        self.done: list[Any] = []
        self._event = {
            "version": "2.0",
            "requestContext": {"http": {"method": "POST", "path": "/"}},
            "headers": {"idempotency-key": key},
            "body": "{}",
            "isBase64Encoded": False,
        }

    def do(self, value: Any) -> Any:
        """Be a step."""
        self.done.append(value)
        return value

    def deliver(self, work: Callable[[Any], Any]) -> Any:
        """Return what the handler returns; a failure is raised."""
        failed: list[BaseException] = []

        @handler
        def handle(event: Any, context: Any) -> Any:
            try:
                return {"result": work(context)}
            except BaseException as error:
                failed.append(error)
                raise

        response = handle(self._event, MockLambdaContext())
        if failed:
            raise failed[0]
        return json.loads(response["body"])["result"]


@pytest.fixture
def events(prompted: PromptedModel) -> Events:
    return Events()


def test_a_step_is_done_once(events: Events) -> None:
    def work(context: Any) -> Any:
        return [context.step("a", events.do, 1), context.step("b", events.do, value=2)]

    assert [events.deliver(work) for _ in range(3)] == [[1, 2]] * 3
    assert events.done == [1, 2]


def test_another_event_does_its_own(events: Events) -> None:
    other = Events("other")

    def work(context: Any) -> Any:
        return context.step("a", events.do, 1)

    assert (events.deliver(work), other.deliver(work)) == (1, 1)
    assert events.done == [1, 1]


def test_a_delivery_goes_on_behind_a_failure(events: Events, prompted: PromptedModel) -> None:
    def work(context: Any) -> Any:
        text = context.step("ask", lambda: context.invoke("A"))
        number = context.step("charge", events.do, 7)
        if len(events.done) < 3:
            events.done.append("failed")
            raise ValueError("It does not work.")
        return [text, number, context.step("end", lambda: context.chat("B").text)]

    for _ in range(2):
        with pytest.raises(ValueError, match="does not work"):
            events.deliver(work)

    assert events.deliver(work) == ["<A>", 7, "<B>"]
    assert events.done == [7, "failed", "failed"]
    assert prompted.prompts == ["A", "B"]


@pytest.mark.parametrize("value", [0, "", None, False, [], {}, {"a": [None, 1.5, "ä"]}])
def test_any_json_comes_back_as_it_was(value: Any, events: Events) -> None:
    def work(context: Any) -> Any:
        return context.step("a", events.do, value)

    assert [events.deliver(work) for _ in range(2)] == [value, value]
    assert events.done == [value]


def test_the_first_delivery_sees_what_the_next_ones_see(events: Events) -> None:
    def work(context: Any) -> Any:
        seen = context.step("a", lambda: {"pair": (1, 2)})
        return isinstance(seen["pair"], list)

    assert [events.deliver(work) for _ in range(2)] == [True, True]


def test_what_is_no_json_is_refused(events: Events) -> None:
    with pytest.raises(TypeError, match="Step 'a' has to be kept as JSON"):
        events.deliver(lambda context: context.step("a", lambda: {1, 2}))


def test_a_coroutine_is_no_result(events: Events) -> None:
    async def later() -> int:
        return 1

    with pytest.raises(TypeError, match="nobody has awaited it"):
        events.deliver(lambda context: context.step("a", later))


def test_a_failed_step_is_done_again(events: Events) -> None:
    def flaky() -> str:
        events.done.append(1)
        if len(events.done) == 1:
            raise ValueError("It does not work.")
        return "fine"

    with pytest.raises(ValueError, match="does not work"):
        events.deliver(lambda context: context.step("a", flaky))
    assert events.deliver(lambda context: context.step("a", flaky)) == "fine"


def test_a_handler_may_go_on_after_a_failed_step(events: Events, prompted: PromptedModel) -> None:
    def fail(context: Any) -> None:
        context.step("inner", events.do, context.invoke("A"))
        raise ValueError("It does not work.")

    def work(context: Any) -> Any:
        try:
            context.step("a", fail, context)
        except ValueError:
            return context.step("b", events.do, "b")

    assert [events.deliver(work) for _ in range(3)] == ["b", "b", "b"]
    assert events.done == ["<A>", "b"]
    assert prompted.prompts == ["A"] * 3


def test_two_steps_of_one_name_are_two(events: Events) -> None:
    def work(context: Any) -> Any:
        return [context.step("a", events.do, number) for number in range(3)]

    assert [events.deliver(work) for _ in range(2)] == [[0, 1, 2]] * 2
    assert events.done == [0, 1, 2]


def test_steps_within_steps_are_done_once_each(events: Events) -> None:
    def outer(context: Any) -> Any:
        found = [context.step("inner", events.do, number) for number in (1, 2)]
        if "failed" not in events.done:
            events.done.append("failed")
            raise ValueError("It does not work.")
        return found

    def work(context: Any) -> Any:
        return [context.step("outer", outer, context), context.step("inner", events.do, 3)]

    with pytest.raises(ValueError, match="does not work"):
        events.deliver(work)
    assert [events.deliver(work) for _ in range(2)] == [[[1, 2], 3]] * 2
    assert events.done == [1, 2, "failed", 3]


def test_calls_outside_of_steps_belong_to_no_run(events: Events, prompted: PromptedModel) -> None:
    def work(context: Any) -> Any:
        context.step("a", lambda: context.invoke("A"))
        return context.invoke("B")

    assert [events.deliver(work) for _ in range(2)] == ["<B>", "<B>"]
    assert prompted.prompts == ["A", "B", "B"]


def test_the_same_question_twice_in_a_step_is_two_answers(
    events: Events, prompted: PromptedModel
) -> None:
    prompted.to("A", "heads", "tails")

    def toss(context: Any) -> Any:
        return [context.invoke("A"), context.invoke("A")]

    assert events.deliver(lambda context: context.step("toss", toss, context)) == ["heads", "tails"]


def test_an_answer_that_was_paid_for_is_not_asked_for_again(
    events: Events, prompted: PromptedModel
) -> None:
    def work(context: Any) -> Any:
        def ask() -> str:
            text = context.invoke("A") + context.invoke("B")
            if not events.done:
                events.done.append("failed")
                raise ValueError("It does not work.")
            return str(text)

        return [context.step("ask", ask), context.total_cost > 0]

    with pytest.raises(ValueError, match="does not work"):
        events.deliver(work)
    assert events.deliver(work)[0] == "<A><B>"
    assert prompted.prompts == ["A", "B"]


def test_streams_in_steps_are_kept_too(events: Events, prompted: PromptedModel) -> None:
    def work(context: Any) -> Any:
        return context.step("a", lambda: context.chat("A", max_tokens=9).text)

    assert [events.deliver(work) for _ in range(2)] == ["<A>", "<A>"]
    assert prompted.prompts == ["A"]


def test_threads_open_one_run(events: Events) -> None:
    meet = Barrier(8, timeout=10)

    def work(context: Any) -> Any:
        found: dict[int, Any] = {}

        def one(number: int) -> None:
            meet.wait()
            found[number] = context.step(f"s{number}", events.do, number)

        threads = [Thread(target=one, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [found[number] for number in range(8)]

    assert [events.deliver(work) for _ in range(2)] == [[*range(8)]] * 2
    assert sorted(events.done) == [*range(8)]


def test_an_async_handler_has_steps(prompted: PromptedModel) -> None:
    done: list[int] = []

    @handler
    async def handle(event: Any, context: Any) -> Any:
        context.step("a", lambda: done.append(1))
        return context.step("b", lambda: context.invoke("A"))

    assert handle({}, MockLambdaContext())["body"] == "<A>"
    assert done == [1]


def test_chains_within_steps_and_behind_them_keep_their_runs(
    events: Events, prompted: PromptedModel
) -> None:
    chain = Chain("c", [Step("a", "A {input}")])

    def work(context: Any) -> Any:
        inner = context.step("s", lambda: chain.run(context, input="in").final_output)
        if not events.done:
            events.done.append("failed")
            raise ValueError("It does not work.")
        return [inner, chain.run(context, input="behind").final_output]

    with pytest.raises(ValueError, match="does not work"):
        events.deliver(work)
    assert [events.deliver(work) for _ in range(2)] == [["<A in>", "<A behind>"]] * 2
    assert prompted.prompts == ["A in", "A behind"]


def test_a_chains_functions_have_steps(events: Events) -> None:
    def work(context: Any) -> Any:
        def run(values: dict[str, Any]) -> Any:
            kept = context.step("charge", events.do, 1)
            if len(events.done) < 2:
                events.done.append("failed")
                raise ValueError("It does not work.")
            return kept

        return Chain("c", [Step("a", func=run, retry_count=0)]).run(context).status

    assert [events.deliver(work) for _ in range(2)] == ["failed", "completed"]
    assert events.done == [1, "failed"]


def test_a_stopped_run_does_no_further_steps(events: Events) -> None:
    def stop_and_fail(context: Any) -> None:
        context.step("a", events.do, 1)
        context.work.control(routes.STOP_RUN, {"run_id": "handler/k", "reason": "by a test"})
        context.step("b", events.do, 2)

    with pytest.raises(lambdallm.StateError, match="was stopped: by a test"):
        events.deliver(stop_and_fail)
    with pytest.raises(lambdallm.StateError, match="has stopped: by a test"):
        events.deliver(lambda context: context.step("a", events.do, 1))
    assert events.done == [1, 2]


@pytest.mark.parametrize("name", ["", "a/b", "a b", None])
def test_a_name_that_cannot_be_kept_is_refused(name: Any, events: Events) -> None:
    with pytest.raises(lambdallm.ConfigurationError, match="1 to 80 letters"):
        events.deliver(lambda context: context.step(name, events.do, 1))
    assert events.done == []


def test_an_identity_of_any_length_names_a_run(prompted: PromptedModel) -> None:
    long = Events("k" * 256)

    def work(context: Any) -> Any:
        return context.step("a", lambda: Chain("c", [Step("x", "X")]).run(context).final_output)

    assert [long.deliver(work) for _ in range(2)] == ["<X>", "<X>"]
    assert prompted.prompts == ["X"]


def test_half_a_character_is_kept_as_it_is(events: Events) -> None:
    half = {"cut \ud83d": ["\udc00", "é"]}

    assert [events.deliver(lambda context: context.step("a", events.do, half))] * 2 == [half] * 2
    assert events.done == [half]


def test_steps_of_one_name_in_several_threads_are_refused(events: Events) -> None:
    meet = Barrier(2, timeout=10)
    refused: list[str] = []

    def work(context: Any) -> None:
        def one(number: int) -> None:
            meet.wait()
            try:
                context.step("s", events.do, number)
            except lambdallm.ConfigurationError as error:
                refused.append(str(error))
            meet.wait()

        threads = [Thread(target=one, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    events.deliver(work)

    assert len(events.done) == 1
    assert ["f's-{index}'" in each for each in refused] == [True]
