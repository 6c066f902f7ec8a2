"""Whole sessions whose large turns lie in a bucket, through the engine's own routes."""

from __future__ import annotations

import itertools
import json

import pytest

from extension.stores.payloads.large_turns import BUCKET, DAY, LARGE, TABLE_URL
from fakes.waiting import until
from lambdallm_extension import engine
from lambdallm_extension.settings import Settings, SystemRandom
from lambdallm_wire import names, routes

LASTING = DAY


@pytest.fixture
def talk(ministack, proxy, prefix, hand_clock):
    """Say something in a session; return what was remembered before, and its version."""
    built = engine.Engine(
        Settings.from_environ(
            {
                "LAMBDALLM_STORE": TABLE_URL,
                "LAMBDALLM_PAYLOADS": f"s3://{BUCKET}/{prefix}",
                "AWS_ENDPOINT_URL_DYNAMODB": ministack,
                "AWS_ENDPOINT_URL_S3": proxy.url,
                "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "testing",
                "AWS_SECRET_ACCESS_KEY": "testing",
            }
        ),
        clock=hand_clock,
        random=SystemRandom(),
        sleep=lambda _: None,
        write_line=lambda _: None,
    )
    numbers = itertools.count()

    def ask(route, **message):
        status, reply = built.handle(
            route.method, route.path, json.dumps(message).encode(), connection=1
        )
        assert status == 200, reply
        return json.loads(reply)

    def say(*contents):
        work = f"work-{next(numbers)}"
        rule = {
            "session_id": prefix, "identity": work, "ttl_seconds": LASTING,
            "memory": {"strategy": "full_history"}, "durability": "before_response",
        }  # fmt: skip
        ask(
            routes.BEGIN, wire_version=names.WIRE_VERSION, work_id=work, request_id=work,
            deadline_epoch_ms=hand_clock.now_ms + 20_000, session=rule,
        )  # fmt: skip
        window = ask(routes.WINDOW, work_id=work)
        turns = [
            {"role": role, "content": content, "metadata": {}, "at_epoch_ms": hand_clock.now_ms}
            for role, content in zip(("user", "assistant"), contents, strict=False)
        ]
        ask(routes.APPEND, work_id=work, turns=turns)
        ask(routes.END, work_id=work)
        built.finish(5)
        return [each["content"] for each in window["turns"]], window["version"]

    yield say
    built.close()


def test_large_turns_are_remembered_as_they_were(talk, objects):
    assert talk(LARGE, "small") == ([], 0)
    assert talk("small", LARGE * 2) == ([LARGE, "small"], 1)
    assert talk("x", "y") == ([LARGE, "small", "small", LARGE * 2], 2)

    assert {each.partition("/")[0] for each in objects.names()} == {"d2"}
    assert len(objects.names()) == 2


def test_a_session_that_begins_anew_does_not_need_what_its_class_has_deleted(
    talk, objects, hand_clock
):
    talk(LARGE, LARGE)
    hand_clock.now_ms += (LASTING + 1) * 1_000
    assert talk("again", "yes") == ([], 0), "unreadable at its expiry, to the second"

    hand_clock.now_ms += LASTING * 1_000 - 10_000
    for name in objects.names():
        objects.delete(name)
    assert talk("still", "there") == (["again", "yes"], 2)


def test_a_session_in_use_keeps_its_objects_young(  # noqa: PLR0917 - fixtures
    talk, proxy, objects, hand_clock, bare, prefix, deadline_ms
):
    def expiry_of_the_first_turn():
        items = bare.outline(f"SESSION#{prefix}", deadline_ms=deadline_ms)
        return next(item.expires_at for item in items if item.key.sk == "TURN#000001#0")

    talk(LARGE, "yes")
    (name,) = objects.names()

    for round_number in range(4):
        written = expiry_of_the_first_turn()
        hand_clock.now_ms += (LASTING - 60) * 1_000
        assert talk("and", "on")[0][:2] == [LARGE, "yes"]
        if round_number % 2:  # in the second half of its life; nobody waits for it
            until(lambda before=written: expiry_of_the_first_turn() > before)

    copies = [each.headers.get("x-amz-copy-source", "") for each in proxy.seen]
    assert [copy for copy in copies if copy] == [f"/{BUCKET}/{prefix}/{name}"] * 2
    assert objects.names() == [name]
