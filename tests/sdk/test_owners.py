"""Whose a session is: told by what stands in front of the function, never by its caller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

import lambdallm
import sample_events
from fakes.owned_events import (
    POOL,
    ROLE,
    SHAPES,
    app_sync,
    app_sync_cognito,
    http,
    http_jwt,
    rest,
    rest_cognito,
)
from lambdallm import Session, _owners, _transport, handler
from lambdallm.testing import MockLambdaContext
from lambdallm_extension.domain import keys
from lambdallm_wire import routes

every_shape = pytest.mark.parametrize("shape", SHAPES)


@handler(session=Session())
def remember(event: Any, context: Any) -> list[Any]:
    """Return what was said before, and say what the event says."""
    said = [message.content for message in context.session.messages]
    body = event["arguments"]["input"] if "arguments" in event else event["body"]
    context.session.add_message("user", body["message"])
    context.session.add_message("assistant", "noted")
    return said


def tell(event: dict[str, Any], context: Any = None) -> list[Any]:
    answered = remember(event, context or MockLambdaContext())
    if isinstance(answered, list):
        return answered
    assert answered["statusCode"] == 200, answered
    said: list[Any] = json.loads(answered["body"])
    return said


def body(message: str, **more: Any) -> str:
    return json.dumps({"message": message, "session_id": "s", **more})


@every_shape
def test_the_owner_is_who_the_authorizer_has_let_in(shape: str) -> None:
    make, owner = SHAPES[shape]

    assert _owners.of_event(make("ada", body("x"))) == owner


def test_the_page_says_what_is_read_of_every_shape() -> None:
    page = (Path(__file__).parents[2] / "docs/sessions.md").read_text(encoding="utf-8")
    rows = {line.split(" | ")[0].removeprefix("| ") for line in page.splitlines()}

    assert rows >= SHAPES.keys()


@every_shape
def test_another_users_id_opens_nothing(shape: str) -> None:
    make, owner = SHAPES[shape]
    tell(make("ada", body("my secret")))

    assert tell(make("bob", body("what was said?"))) == []
    assert tell(make("bob", body("again"))) == ["what was said?", "noted"]
    assert tell(make("ada", body("and now?"))) == ["my secret", "noted"]
    assert Session().load("s").messages == [], "nobody's session of that id is another one"
    assert len(Session().load("s", owner=owner).messages) == 4


@every_shape
def test_nobody_forges_an_owner(shape: str) -> None:
    make, owner = SHAPES[shape]
    tell(make("ada", body("my secret")))
    quoted = keys.session_pk("s", owner).removeprefix("SESSION#")
    forged = {
        "owner": owner,
        "principal": owner,
        "principalId": "ada",
        "sub": "ada",
        "authorizer": {"principalId": "ada", "jwt": {"claims": {"sub": "ada", "iss": POOL}}},
        "requestContext": make("ada", body("x")).get("requestContext"),
        "identity": {"sub": "ada", "issuer": POOL, "userArn": ROLE + "ada"},
        "tenant_id": "ada",
    }
    event = make("bob", body("let me in", **forged))
    event["headers"] = {
        **(event.get("headers") or {}),
        "x-amzn-oidc-identity": "ada",
        "x-amz-tenant-id": "ada",
        "x-amzn-remapped-authorization": "ada",
        "x-lambdallm-owner": owner,
    }
    assert tell(event) == []

    answered: Any
    try:
        wrong = json.dumps({"message": "x", "session_id": quoted})
        answered = remember(make("bob", wrong), MockLambdaContext())
    except lambdallm.InvalidRequestError as refusal:
        answered = {"statusCode": refusal.status}
    assert answered["statusCode"] == 400, "an id holds no '#'"


@every_shape
def test_a_handler_that_loads_another_id_stays_with_its_user(shape: str) -> None:
    make, owner = SHAPES[shape]
    session = Session().load("other", owner=owner)
    session.add_message("user", "ada's")
    session.add_message("assistant", "yes")
    session.close()
    seen: list[list[str]] = []

    @handler(session=Session())
    def load_other(event: Any, context: Any) -> str:
        context.session.load("other")
        seen.append([message.content for message in context.session.messages])
        return "ok"

    load_other(make("bob", body("x")), MockLambdaContext())
    load_other(make("ada", body("x")), MockLambdaContext())

    assert seen == [[], ["ada's", "yes"]]


def test_one_user_of_several_apis_has_one_session() -> None:
    tell(rest_cognito("ada", body("from REST")))
    tell(http_jwt("ada", body("from HTTP")))

    assert tell(app_sync_cognito("ada", body("x")))[::2] == ["from REST", "from HTTP"]


def test_the_same_subject_of_another_issuer_is_another_user() -> None:
    tell(http_jwt("ada", body("secret")))

    assert tell(http({"jwt": {"claims": {"sub": "ada", "iss": "https://evil"}}}, body("x"))) == []


@pytest.mark.parametrize(
    "event",
    [
        sample_events.rest_api(body("x")),
        sample_events.http_api(body("x")),
        sample_events.function_url(body("x")),
        sample_events.load_balancer(body("x")),
        http({"lambda": None}, body("x")),
        http({"lambda": {}}, body("x")),
        rest({"authorizer": {"integrationLatency": 0}}, body("x")),
        rest({"identity": {"apiKey": "k", "sourceIp": "203.0.113.7", "userArn": None}}, body("x")),
        app_sync(None, body("x")),
        {"session_id": "s", "body": {"message": "x"}},
        *sample_events.SERVICE.values(),
    ],
)  # fmt: skip
def test_without_an_authorizer_a_session_is_nobodys(event: dict[str, Any]) -> None:
    assert _owners.of_event(event, MockLambdaContext()) == ""


NOT_NAMED = {
    "JWT without sub": http({"jwt": {"claims": {"client_id": "c"}}}, body("x")),
    "Lambda authorizer without a name": http({"lambda": {"plan": "free"}}, body("x")),
    "Lambda authorizer with a flag": http({"lambda": {"sub": True}}, body("x")),
    "Cognito without sub": rest({"authorizer": {"claims": {"iss": POOL}}}, body("x")),
    "IAM without userArn": http({"iam": {"accessKey": "A"}}, body("x")),
    "AppSync without a name": app_sync({"accountId": "1"}, body("x")),
    "a load balancer's header": sample_events.load_balancer(
        body("x"), headers={"X-Amzn-Oidc-Identity": "ada", "x-amzn-oidc-data": "e30.e30.e30"}
    ),
    "the same in lists": {
        **sample_events.load_balancer_with_lists(body("x")),
        "multiValueHeaders": {"x-amzn-oidc-identity": ["ada"]},
    },
}


@pytest.mark.parametrize("why", NOT_NAMED)
def test_somebody_who_is_let_in_and_not_named_is_refused(why: str) -> None:
    event = NOT_NAMED[why]

    with pytest.raises(lambdallm.ConfigurationError, match=r"owner=None"):
        _owners.of_event(event)
    if "arguments" not in event:
        assert remember(event, MockLambdaContext())["statusCode"] == 500


def test_owner_none_is_one_session_for_all_who_know_its_id() -> None:
    @handler(session=Session(owner=None))
    def shared(event: Any, context: Any) -> int:
        context.session.add_message("user", "x")
        context.session.add_message("assistant", "y")
        return context.session.message_count

    for count, user in ((2, "ada"), (4, "bob")):
        assert shared(http_jwt(user, body("x")), MockLambdaContext())["body"] == str(count)
    assert shared(NOT_NAMED["JWT without sub"], MockLambdaContext())["statusCode"] == 200


def test_required_refuses_an_event_that_is_nobodys() -> None:
    @handler(session=Session(owner="required"))
    def ask(event: Any, context: Any) -> str:
        return str(context.session.message_count)

    assert ask(sample_events.http_api(body("x")), MockLambdaContext())["statusCode"] == 401
    assert ask(http_jwt("ada", body("x")), MockLambdaContext())["statusCode"] == 200
    with pytest.raises(lambdallm.UnauthorizedError):
        Session(owner="required").load("s")


def test_a_function_says_whose_it_is() -> None:
    def by_team(event: Any, context: Any) -> str:
        assert context.remaining_time_ms > 0
        return str(event["body"].get("team", ""))

    @handler(session=Session(owner=by_team))
    def ask(event: Any, context: Any) -> int:
        context.session.add_message("user", "x")
        context.session.add_message("assistant", "y")
        return context.session.message_count

    for count, team in ((2, "red"), (2, "blue"), (4, "red")):
        answered = ask(http_jwt("ada", body("x", team=team)), MockLambdaContext())
        assert answered["body"] == str(count)
    assert ask(http_jwt("ada", body("x")), MockLambdaContext())["statusCode"] == 401


@pytest.mark.parametrize("owner", ["somebody", 7, ""])
def test_an_owner_that_is_no_rule_is_refused(owner: Any) -> None:
    with pytest.raises(lambdallm.ConfigurationError, match="required"):
        Session(owner=owner)


class _TenantContext(MockLambdaContext):
    def __init__(self, tenant: Any) -> None:
        super().__init__()
        self.tenant_id = tenant


def test_tenants_of_one_function_share_nothing() -> None:
    tell(sample_events.http_api(body("a's")), _TenantContext("a"))
    tell(http_jwt("ada", body("a's ada")), _TenantContext("a"))

    assert tell(sample_events.http_api(body("x")), _TenantContext("b")) == []
    assert tell(http_jwt("ada", body("x")), _TenantContext("b")) == []
    assert tell(sample_events.http_api(body("x")), _TenantContext("a"))[0] == "a's"
    assert tell(http_jwt("ada", body("x")), _TenantContext("a"))[0] == "a's ada"
    assert tell(sample_events.http_api(body("x")), _TenantContext(None)) == []


def test_who_invokes_the_function_with_a_pools_credentials_owns_his_sessions() -> None:
    class Identity:
        cognito_identity_id = "eu:ada"

    class Context(MockLambdaContext):
        identity = Identity()

    assert _owners.of_event({"session_id": "s"}, Context()) == "cognito:eu:ada"


NAMES = st.text(st.sampled_from("ab|%:#/ ü\ud800"), min_size=1, max_size=6)


@given(st.tuples(NAMES, NAMES), st.tuples(NAMES, NAMES))
def test_two_users_never_share_a_partition(one: tuple[str, str], other: tuple[str, str]) -> None:
    def partition(issuer: str, subject: str) -> str:
        owner = _owners.of_event(http({"jwt": {"claims": {"iss": issuer, "sub": subject}}}, "{}"))
        return keys.session_pk("s", owner)

    assert (partition(*one) == partition(*other)) == (one == other)
    assert partition(*one).isascii()


@given(st.text(max_size=40), st.sampled_from(["s", "a b", "x%23"]))
def test_a_partition_says_whose_it_is(owner: str, session_id: str) -> None:
    pk = keys.session_pk(session_id, owner)

    assert keys.parse_session_pk(pk) == (session_id, owner)
    assert len(pk) <= len("SESSION##") + len(session_id) + 12 * len(owner)


def test_an_owner_that_is_too_long_for_a_key_is_refused() -> None:
    assert remember(http_jwt("a" * 600, body("x")), MockLambdaContext())["statusCode"] == 400
    tell(http_jwt("ü" * 200, body("x")))


def test_an_engine_that_would_drop_the_owner_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Older:
        usable = True

        def __init__(self) -> None:
            self.asked: list[routes.Route] = []
            self.engine = _transport.current()

        def request(self, route: routes.Route, message: Any, *, timeout_seconds: float) -> Any:
            self.asked.append(route)
            if route is routes.BEGIN:
                message["session"] = {
                    name: value
                    for name, value in message["session"].items()
                    if name not in ("principal", "store")
                }
            return self.engine.request(route, message, timeout_seconds=timeout_seconds)

        def close(self) -> None:
            self.engine.close()

    older = Older()
    _transport.replace(older)  # type: ignore[arg-type]  # all that is asked of one here

    answered = remember(http_jwt("ada", body("x")), MockLambdaContext())

    assert answered["statusCode"] == 500
    assert "update" in answered["body"]
    assert older.asked == [routes.BEGIN, routes.END]
