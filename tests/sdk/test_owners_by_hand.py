"""Sessions that a handler makes itself are those of its event's user, or nobody opens them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import lambdallm
from fakes.owned_events import SHAPES, http, http_jwt
from lambdallm import Session, handler
from lambdallm.testing import MockLambdaContext

KEPT: dict[str, Session] = {}

every_shape = pytest.mark.parametrize("shape", SHAPES)


@pytest.fixture(autouse=True)
def fresh() -> None:
    KEPT.clear()


def of_its_module() -> Session:
    """Load an object that lives as long as the environment."""
    return KEPT.setdefault("s", Session()).load("s")


def talk(session: Session, text: str) -> list[Any]:
    said = [message.content for message in session.messages]
    session.add_message("user", text)
    session.add_message("assistant", f"to {text}")
    session.save()
    return said


def call(function: Callable[[Any], Any], event: Any, **options: Any) -> Any:
    """Call it as a handler; return what it returned, or raise what it raised."""
    kept: list[Any] = []

    @handler(**options)
    def handle(event: Any, context: Any) -> str:
        try:
            kept.append(function(event))
        except lambdallm.LambdaLLMError as error:
            kept.append(error)
        return "ok"

    handle(event, MockLambdaContext())
    if isinstance(kept[0], Exception):
        raise kept[0]
    return kept[0]


@every_shape
@pytest.mark.parametrize(
    "make",
    [
        lambda: Session().load("s"),
        of_its_module,
        lambda: Session(session_id="s"),
        lambda: Session(owner="required").load("s"),
    ],
    ids=["its own", "of its module", "saved unread", "required"],
)
def test_another_users_id_opens_nothing(shape: str, make: Callable[[], Session]) -> None:
    event, owner = SHAPES[shape]
    call(lambda _: talk(make(), "one"), event("ada", "{}"))
    call(lambda _: talk(make(), "two"), event("ada", "{}"))

    seen = call(lambda _: talk(Session().load("s"), "mine"), event("bob", "{}"))

    assert seen == []
    assert call(lambda _: talk(of_its_module(), "x"), event("bob", "{}"))[:1] == ["mine"]
    whole = [message.content for message in Session().load("s", owner=owner).messages]
    assert whole == ["one", "to one", "two", "to two"]


def test_an_event_that_is_nobodys_opens_what_is_nobodys() -> None:
    call(lambda _: talk(Session().load("s"), "one"), http("anybody", "{}"))

    assert [message.content for message in Session().load("s").messages] == ["one", "to one"]


def test_required_refuses_an_event_that_is_nobodys() -> None:
    with pytest.raises(lambdallm.UnauthorizedError):
        call(lambda _: Session(owner="required").load("s"), http("anybody", "{}"))


def test_a_function_says_whose_it_is() -> None:
    def team(event: Any, context: Any) -> str:
        return str(event["team"])

    call(lambda _: talk(Session(owner=team).load("s"), "one"), {"team": "red"})

    assert call(lambda _: talk(Session(owner=team).load("s"), "x"), {"team": "blue"}) == []
    assert len(Session().load("s", owner="red").messages) == 2
    with pytest.raises(lambdallm.UnauthorizedError):
        Session(owner=team).load("s")


def test_what_is_said_beats_the_event() -> None:
    event = http_jwt("ada", "{}")
    call(lambda _: talk(Session(owner=None).load("shared"), "all"), event)
    call(lambda _: talk(Session().load("s", owner="team"), "theirs"), event)

    assert len(Session().load("shared").messages) == 2
    assert len(Session().load("s", owner="team").messages) == 2
    assert call(lambda _: talk(Session().load("s"), "ada's"), event) == []


def test_a_nested_handler_is_about_its_own_event() -> None:
    def outer(event: Any) -> Any:
        inner = call(lambda _: talk(Session().load("s"), "bob's"), http_jwt("bob", "{}"))
        return [inner, talk(Session().load("s"), "ada's")]

    assert call(outer, http_jwt("ada", "{}")) == [[], []]
    assert call(lambda _: talk(Session().load("s"), "x"), http_jwt("ada", "{}"))[0] == "ada's"


def test_threads_of_one_event_open_its_users_sessions() -> None:
    assert call(in_thread, http_jwt("ada", "{}")) == []
    assert call(in_thread, http_jwt("ada", "{}")) == ["in a thread", "to in a thread"]
    assert call(in_thread, http_jwt("bob", "{}")) == []


def test_where_several_events_are_handled_nobody_guesses() -> None:
    def outer(event: Any) -> Any:
        with pytest.raises(lambdallm.ConfigurationError, match="owner="):
            call(in_thread, http_jwt("bob", "{}"))
        return call(in_thread, http_jwt("ada", "{}"))

    assert call(outer, http_jwt("ada", "{}")) == [], "of one user all the same"


@pytest.mark.parametrize("rule", ["authorizer", "required", str])
def test_a_function_without_the_decorator_says_whose_it_means(
    rule: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "plain")
    for use in (lambda s: s.load("s"), lambda s: s.save()):
        with pytest.raises(lambdallm.ConfigurationError, match="owner=None"):
            use(Session(owner=rule, session_id="s"))
    assert Session(owner=None).load("s").messages == []
    assert Session(owner=rule).load("s", owner="ada").messages == []


def in_thread(event: Any) -> Any:
    """Load and save in a thread of the handler's."""
    kept: list[Any] = []

    def run() -> None:
        try:
            kept.append(talk(Session().load("s"), "in a thread"))
        except lambdallm.LambdaLLMError as error:
            kept.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(kept[0], Exception):
        raise kept[0]
    return kept[0]


def test_an_object_that_another_users_event_has_left_open_shows_and_keeps_nothing() -> None:
    kept = Session(session_id="s", metadata={"plan": "free"})
    call(lambda _: talk(kept, "ada's"), http_jwt("ada", "{}"))

    uses: list[Callable[[], Any]] = [
        lambda: kept.messages,
        lambda: kept.metadata,
        lambda: kept.format_history(),
        lambda: kept.add_message("user", "bob's"),
        lambda: setattr(kept, "metadata", {"whose": "bob"}),
        kept.clear,
        kept.save,
    ]
    for use in uses:
        with pytest.raises(lambdallm.ConfigurationError, match="load"):
            call(lambda _, use=use: use(), http_jwt("bob", "{}"))
    assert call(lambda _: talk(kept.load(), "bob's"), http_jwt("bob", "{}")) == []
    assert call(lambda _: talk(Session().load("s"), "x"), http_jwt("ada", "{}")) == [
        "ada's",
        "to ada's",
    ]


def test_what_a_failed_event_has_left_unsaved_is_not_another_users() -> None:
    kept = Session(session_id="s")
    call(lambda _: kept.add_message("user", "ada's"), http_jwt("ada", "{}"))

    with pytest.raises(lambdallm.ConfigurationError, match="load"):
        call(lambda _: kept.save(), http_jwt("bob", "{}"))
    assert call(lambda _: talk(kept.load(), "bob's"), http_jwt("bob", "{}")) == []


def test_an_object_goes_on_in_the_next_event_of_the_same_user() -> None:
    for event in (http("anybody", "{}"), http_jwt("ada", "{}")):
        kept = Session(session_id="s")  # of the module
        assert call(lambda _, kept=kept: talk(kept, "1"), event) == []
        assert call(lambda _, kept=kept: talk(kept, "2"), event) == ["1", "to 1"]


def test_a_thread_that_was_there_before_the_event_says_whose_it_means() -> None:
    """It may be another user's, left by an event that is over."""
    with ThreadPoolExecutor(1) as pool:

        def load(**how: Any) -> list[Any]:
            return pool.submit(lambda: talk(Session().load("s", **how), "in the pool")).result()

        assert call(lambda _: load(), http_jwt("ada", "{}")) == [], "begun by this event"
        with pytest.raises(lambdallm.ConfigurationError, match="owner="):
            call(lambda _: load(), http_jwt("bob", "{}"))
        assert call(lambda _: load(owner="bob"), http_jwt("bob", "{}")) == []
        assert call(lambda _: load(), http("anybody", "{}")) == [], "nobody's, all the same"


def test_a_thread_that_has_outlived_its_event_opens_nothing() -> None:
    go, done, kept = threading.Event(), threading.Event(), []

    def late() -> None:
        go.wait(5)
        try:
            kept.append(talk(Session().load("s"), "ada's"))
        except lambdallm.ConfigurationError as error:
            kept.append(error)
        done.set()

    def wait(_: Any) -> bool:
        go.set()
        return done.wait(5)

    thread = threading.Thread(target=late)
    call(lambda _: thread.start(), http_jwt("ada", "{}"))
    assert call(wait, http_jwt("bob", "{}"))
    thread.join()

    assert isinstance(kept[0], lambdallm.ConfigurationError)
    assert call(lambda _: talk(Session().load("s"), "mine"), http_jwt("bob", "{}")) == []


def test_coroutines_and_their_threads_are_of_their_handlers_event() -> None:
    found: list[list[Any]] = []

    @handler()
    async def handle(event: Any, context: Any) -> str:
        mine = (await Session().aload("s")).messages
        theirs = await asyncio.to_thread(lambda: Session().load("s").messages)
        found.append([mine, theirs])
        await asyncio.to_thread(lambda: talk(Session().load("s"), "said"))
        return "ok"

    for user in ("ada", "bob", "eve"):
        handle(http_jwt(user, "{}"), MockLambdaContext())

    assert found == [[[], []]] * 3


def test_a_coroutine_that_has_outlived_its_event_opens_nothing() -> None:
    go, done, kept = threading.Event(), threading.Event(), []

    def late() -> None:
        go.wait(5)
        try:
            kept.append(Session().load("s"))
        except lambdallm.ConfigurationError as error:
            kept.append(error)
        done.set()

    @handler()
    async def leave(event: Any, context: Any) -> str:
        kept.append(asyncio.get_running_loop().create_task(asyncio.to_thread(late)))
        await asyncio.sleep(0)
        return "ok"

    def wait(_: Any) -> bool:
        go.set()
        return done.wait(5)

    leave(http_jwt("ada", "{}"), MockLambdaContext())
    assert call(wait, http_jwt("bob", "{}"))

    assert isinstance(kept[1], lambdallm.ConfigurationError)
