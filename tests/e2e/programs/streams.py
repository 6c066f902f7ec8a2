"""Handlers whose answers are streamed; the event's query says what they do."""

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

if os.environ.get("RUNTIME_CLIENT_VERSION"):
    sys.modules["awslambdaric"].__version__ = os.environ["RUNTIME_CLIENT_VERSION"]

from lambdallm import InvalidRequestError, Session, sse, stream_handler

FOLDER = Path(tempfile.gettempdir())


def wait_for(name: str) -> None:
    """Wait until the test allows more."""
    while not (FOLDER / name).exists():
        time.sleep(0.002)


@stream_handler(via="function-url")
def gated(event, context):
    context.start_response(201, headers={"x-one": "1"}, cookies=["a=1"])
    yield "first "
    wait_for("go")
    yield "second"
    (FOLDER / "ended").touch()


@stream_handler(via="function-url")
async def gated_coroutine(event, context):
    context.start_response(201, headers={"x-one": "1"}, cookies=["a=1"])
    yield "first "
    wait_for("go")  # which holds the whole loop up
    yield "second"
    (FOLDER / "ended").touch()


@stream_handler(via="function-url", error_event=True)
def failing(event, context):
    at = event["queryStringParameters"]["at"]
    if at == "begin":
        raise ValueError("secret")
    yield sse("one")
    if at == "middle":
        raise ValueError("secret")
    yield sse("two")
    if at == "end":
        raise ValueError("secret")


@stream_handler(via="invoke")
def raw(event, context):
    yield from {"nothing": [], "kinds": [b"\xff\x00", "ä", {"n": 1}], "text": ["one"]}[event["say"]]
    if event.get("fail"):
        raise LookupError("told")


class MuteError(Exception):
    def __str__(self):
        raise ValueError("no words")


AWKWARD = {
    "long": ValueError("x" * 100_000),
    "half": ValueError("half a character: \ud800"),
    "mute": MuteError(),
    "ours": InvalidRequestError("half a character: \ud800" + "x" * 100_000),
}


def awkward(event, context):
    yield sse("one")
    if event.get("queryStringParameters", event)["say"] in AWKWARD:
        raise AWKWARD[event.get("queryStringParameters", event)["say"]]


awkward_invoked = stream_handler(via="invoke", error_event=True)(awkward)
awkward_asked = stream_handler(via="function-url", error_event=True)(awkward)


@stream_handler(via="function-url", timeout_buffer=2)
def flooding(event, context):
    try:
        while event["rawPath"] == "/flood":
            yield bytes(65_536)
        yield "dry"
    except GeneratorExit:
        (FOLDER / "cancelled").touch()
        raise


@stream_handler(via="function-url")
def hanging(event, context):
    yield "one"
    if event["rawPath"] == "/hang":
        time.sleep(30)


@stream_handler(via="function-url", error_event=True, timeout_buffer=1)
def slow_model(event, context):
    for piece in context.stream("Go on.", model="scripted/slow"):
        yield sse(piece)


def tell(event, context):
    session = context.session
    session.add_message("user", "Tell me.")
    stream = context.stream(session.format_history(), model="scripted/long")
    try:
        for piece in stream:
            yield piece
            (FOLDER / "begun").touch()
    except GeneratorExit:
        (FOLDER / "cancelled").touch()
        raise
    session.add_message("assistant", stream.text)
    (FOLDER / "ended").touch()


cancelling = stream_handler(via="function-url", session=Session())(tell)
keeping = stream_handler(via="function-url", session=Session(), keep_partial=True)(tell)
finishing = stream_handler(via="function-url", session=Session(), on_disconnect="finish")(tell)


@stream_handler(via="function-url", session=Session(), keep_partial=True)
def planning(event, context):
    context.session.add_message("user", "Tell me.")
    plan = context.stream("A plan that nobody sees.", model="scripted/long")
    next(plan)
    while True:
        yield sse("shown ")
        yield sse({"n": 1}, event="other")
        time.sleep(0.005)


@stream_handler(via="function-url", session=Session())
def storing(event, context):
    assert context.session.messages == []
    context.session.add_message("user", "Tell me.")
    yield "first "
    wait_for("go")
    context.session.add_message("assistant", "first second")
    yield "second"


@stream_handler(via="invoke")
def large(event, context):
    block = bytes(1_000_000)
    for _ in range(event["megabytes"]):
        yield block
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(f"rss_max_kb {peak_kb}\n")


@stream_handler(via="function-url", session=Session())
def whole(event, context):
    if event["rawPath"] == "/page":
        return {"statusCode": 200, "headers": {"content-type": "text/html"}, "body": "<p>ä</p>"}
    return {"said": [each.content for each in context.session.messages]}
