"""Sessions that a handler makes itself are those of its event's user, or nobody opens them."""

from __future__ import annotations

import threading
from collections.abc import Callable
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
