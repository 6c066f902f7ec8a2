"""What is read from events of every shape."""

import copy
import json
import string
from typing import Any

import pytest
from hypothesis import given, strategies as st

import sample_events as samples
from lambdallm import _events


@pytest.mark.parametrize("name", samples.HTTP)
def test_a_json_body_arrives_decoded_and_the_event_stays_as_it_was(name: str) -> None:
    event = samples.HTTP[name]()
    before = copy.deepcopy(event)

    incoming = _events.read(event)

    assert incoming.shape == "http"
    assert incoming.event["body"] == {"message": "Grüße", "session_id": "ada"}
    assert incoming.event["body"]["message"] == "Grüße"
    assert isinstance(incoming.event["body"], dict)
    assert incoming.raw_body == samples.BODY
    assert incoming.event["isBase64Encoded"] is False
    assert incoming.session_id == "ada"
    assert event == before


@pytest.mark.parametrize("name", samples.SERVICE)
def test_service_events_pass_through(name: str) -> None:
    event = samples.SERVICE[name]

    incoming = _events.read(event)

    assert incoming.shape == "service"
    assert incoming.event is event
    assert not incoming.wants_status


def test_websocket_messages_belong_to_their_connection() -> None:
    incoming = _events.read(samples.websocket())

    assert incoming.shape == "websocket"
    assert incoming.wants_status
    assert incoming.event["body"]["message"] == "hi"
    assert incoming.session_id == "Zm9vYmFyCg=="


@pytest.mark.parametrize("event", [{"name": "Ada"}, "text", 7, None, [1, 2], {"detail": {}}])
def test_anything_else_is_a_direct_call(event: Any) -> None:
    incoming = _events.read(event)

    assert incoming.shape == "direct"
    assert incoming.event is event


def test_an_event_made_by_hand_counts_as_http() -> None:
    assert _events.read({"body": {"message": "hi"}}).shape == "http"
    assert _events.read({"body": "{}"}).shape == "http"
    assert _events.read({}, in_lambda=False).shape == "http"
    assert _events.read({}, in_lambda=True).shape == "direct"


def test_a_body_that_is_a_dict_already_stays_one() -> None:
    incoming = _events.read({"body": {"message": "hi", "sessionId": "s-1"}})

    assert incoming.event["body"] == {"message": "hi", "sessionId": "s-1"}
    assert incoming.session_id == "s-1"


@pytest.mark.parametrize("body", [None, "", "plain text", "a=1&b=2", "{broken", "7", '"text"'])
def test_what_is_no_json_object_or_array_stays_text(body: str | None) -> None:
    incoming = _events.read(samples.rest_api(body))

    assert incoming.event["body"] == body
    assert incoming.raw_body == body
    assert incoming.fault is None


def test_binary_bodies_stay_in_base64() -> None:
    event = samples.http_api("gIGC", isBase64Encoded=True)

    incoming = _events.read(event)

    assert incoming.event["body"] == "gIGC"
    assert incoming.event["isBase64Encoded"] is True


def test_handlers_that_decode_the_body_themselves_still_can() -> None:
    for text in (samples.BODY, "[1, 2]", "{}"):
        body = _events.read(samples.rest_api(text)).event["body"]

        assert json.loads(body) == json.loads(text)
        assert json.loads(json.dumps({"body": body})) == {"body": json.loads(text)}
        assert not isinstance(body, (str, bytes))


def test_a_decoded_body_is_an_ordinary_dict_to_everybody_else() -> None:
    body = _events.read({"body": '{"a": 1}'}).event["body"]

    match body:
        case {"a": value}:
            assert value == 1
        case _:
            pytest.fail("not a mapping")
    assert copy.deepcopy(body) == {**body} == dict(body) == {"a": 1}
    assert isinstance(body, dict)
    assert repr(body) == "{'a': 1}"


def session_id_of(**changes: Any) -> str | None:
    return _events.read(samples.rest_api('{"message": "hi"}', **changes)).session_id


def test_a_session_id_is_found_wherever_it_stands() -> None:
    assert session_id_of() is None
    assert session_id_of(headers={"X-Session-Id": "h"}) == "h"
    assert session_id_of(headers=None, multiValueHeaders={"X-SESSION-ID": ["m"]}) == "m"
    assert session_id_of(queryStringParameters={"session_id": "q"}) == "q"
    assert session_id_of(multiValueQueryStringParameters={"sessionId": ["q2"]}) == "q2"
    assert session_id_of(pathParameters={"sessionId": "p"}) == "p"
    assert _events.read({"session_id": "d"}).session_id == "d"
    assert _events.read({"body": '{"session_id": 42}'}).session_id == "42"


def test_the_body_says_it_before_the_header() -> None:
    event = samples.rest_api(
        headers={"x-session-id": "h"}, queryStringParameters={"sessionId": "q"}
    )

    assert _events.read(event).session_id == "ada"


@pytest.mark.parametrize("bad", ["a#b", "x" * 257, "zeile\nzwei", "grüße", "\x7f"])
def test_ids_that_cannot_be_keys_are_a_fault(bad: str) -> None:
    for event in (
        {"body": json.dumps({"session_id": bad})},
        samples.rest_api(headers={"Idempotency-Key": bad}),
        {"session_id": bad},
    ):
        incoming = _events.read(event)

        assert incoming.fault is not None
        assert incoming.fault.status == 400
        assert incoming.session_id is None
        assert bad not in incoming.fault.detail


@pytest.mark.parametrize("bad", [["a"], [], True, False, {"a": 1}, {}, 1.5])
def test_a_session_id_of_another_type_is_a_fault(bad: Any) -> None:
    for event in ({"body": json.dumps({"session_id": bad})}, {"sessionId": bad}):
        incoming = _events.read(event)

        assert incoming.fault is not None
        assert "session id is no text" in incoming.fault.detail
        assert incoming.session_id is None


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_session_id_that_says_nothing_is_none(nothing: Any) -> None:
    event = samples.rest_api(json.dumps({"session_id": nothing}), headers={"x-session-id": nothing})

    assert _events.read(event).session_id is None
    assert _events.read(event).fault is None


def test_lists_of_a_query_that_are_none_are_passed_over() -> None:
    for values in ({"0": "x"}, "text", 7, [], None):
        event = samples.rest_api("{}", multiValueQueryStringParameters={"session_id": values})

        assert _events.read(event).session_id is None


@given(st.text(max_size=300))
def test_an_id_is_what_it_is_said_to_be(text: str) -> None:
    printable = set(string.printable) - set(string.whitespace) | {" "}
    expected = 1 <= len(text) <= 256 and set(text) <= printable - {"#"}

    assert _events.is_id(text) == expected


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("sqs", "059f36b4-87a3-44ab-83d2-661975830a7d"),
        ("sns", "95df01b4-ee98-5cb9-9903-4c221d41eb5e"),
        ("kinesis", samples.SERVICE["kinesis"]["Records"][0]["eventID"]),
        ("dynamodb", "c4ca4238a0b923820dcc509a6f75849b"),
        ("eventbridge", "6a7e8feb-b491-4cf7-a9f1-bf3703467718"),
        ("s3", None),
        ("logs", None),
    ],
)
def test_a_redelivered_event_has_the_same_identity(name: str, identity: str | None) -> None:
    assert _events.read(samples.SERVICE[name]).identity == identity


def test_an_idempotency_key_is_the_identity_of_a_request() -> None:
    event = samples.http_api(headers={"idempotency-key": "k-1"})

    assert _events.read(event).identity == "k-1"


def test_a_batch_has_no_identity() -> None:
    assert _events.read({"Records": [samples.SQS_RECORD, samples.SQS_RECORD]}).identity is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["body", "headers", "requestContext", "Records", "pathParameters", "http",
                     "multiValueHeaders", "queryStringParameters", "isBase64Encoded", "Sns",
                     "httpMethod", "multiValueQueryStringParameters", "detail-type", "id"]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=12,
    )
)  # fmt: skip
def test_no_event_makes_it_raise(event: Any) -> None:
    before = copy.deepcopy(event)

    _events.read(event)

    assert event == before
