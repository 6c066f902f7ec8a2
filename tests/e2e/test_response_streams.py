"""Answers that leave piece by piece out of the managed runtime, beside the built layer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from e2e.chats import lines_with
from e2e.refusing_table import Refusal, RefusingTable
from e2e.streamed import PRELUDE_TYPE, PROGRAM, VARIABLES, event, parted, read_until, start
from fakes.waiting import until

if TYPE_CHECKING:
    from e2e.conftest import Service, Start

# Chunks


@pytest.mark.parametrize("name", ["gated", "gated_coroutine"])
def test_chunks_come_while_the_handler_runs(emulator: Start, layer: Path, name: str) -> None:
    with start(emulator, layer, name) as environment:
        for _ in range(2):  # the runtime goes on as if it had answered itself
            stream = environment.invoke_stream(event())
            first = read_until(stream, b"first ")
            assert not (environment.directory / "ended").exists()
            (environment.directory / "go").touch()
            rest = b"".join(stream)
            environment.wait_until_idle()
            for file in ("go", "ended"):
                (environment.directory / file).unlink()

            assert (stream.streamed, stream.content_type, stream.error) == (
                True, PRELUDE_TYPE, None,
            )  # fmt: skip
            prelude, body = parted(first + rest)
            assert body == b"first second"
            assert prelude == {
                "statusCode": 201,
                "headers": {"x-one": "1", "content-type": "text/plain; charset=utf-8"},
                "cookies": ["a=1"],
            }
        assert lines_with(environment, '"level": "ERROR"') == []


def test_awss_emulator_which_collects_them_has_the_same_bytes(host: Start, layer: Path) -> None:
    with start(host, layer, "raw") as environment:
        said = [environment.invoke({"say": what}).payload for what in ("kinds", "nothing", "text")]

    assert said == [b'\xff\x00\xc3\xa4{"n": 1}\n', b"", b"one"]


def test_a_whole_answer_and_an_error_have_a_prelude_too(host: Start, layer: Path) -> None:
    with start(host, layer, "whole") as environment:
        page, page_body = parted(environment.invoke(event("/page", "s")).payload)
        said, said_body = parted(environment.invoke(event("/", "s")).payload)
        refused, refused_body = parted(environment.invoke(event("/", "bad\nid")).payload)

    assert (page["statusCode"], page["headers"]["content-type"]) == (200, "text/html")
    assert page_body.decode() == "<p>ä</p>"
    assert (said["headers"]["content-type"], said_body) == ("application/json", b'{"said": []}')
    assert refused["statusCode"] == 400
    assert "session id" in json.loads(refused_body)["detail"]


# Failures


def test_an_error_before_the_first_chunk_is_a_status(emulator: Start, layer: Path) -> None:
    with start(emulator, layer, "failing") as environment:
        stream = environment.invoke_stream(event(at="begin"))
        prelude, body = parted(b"".join(stream))

    assert (prelude["statusCode"], stream.error) == (500, None)
    assert "secret" not in body.decode()
    assert json.loads(body)["code"] == "internal"


@pytest.mark.parametrize(("at", "told"), [("middle", ["one"]), ("end", ["one", "two"])])
def test_an_error_after_it_is_told_by_trailers_and_by_an_event(
    emulator: Start, layer: Path, at: str, told: list[str]
) -> None:
    with start(emulator, layer, "failing") as environment:
        stream = environment.invoke_stream(event(at=at))
        prelude, body = parted(b"".join(stream))
        again = environment.invoke_stream(event(at="never"))
        assert b"".join(again).endswith(b"data: two\n\n")
        errors = lines_with(environment, "The handler failed", "ValueError: secret")

    assert prelude["statusCode"] == 200
    *pieces, error, end = body.decode().split("\n\n")
    assert (pieces, end) == ([f"data: {piece}" for piece in told], "")
    name, _, data = error.partition("\ndata: ")
    assert (name, json.loads(data)["code"]) == ("event: error", "internal")
    assert stream.error is not None
    assert stream.error.error_type == "ValueError"
    assert "secret" not in str(stream.error.body), "its reader may be anybody"
    assert again.error is None
    assert len(errors) == 1


def test_an_error_of_who_is_invoked_by_iam_is_told_whole(emulator: Start, layer: Path) -> None:
    with start(emulator, layer, "raw") as environment:
        stream = environment.invoke_stream({"say": "text", "fail": True})
        body = b"".join(stream)
        before = environment.invoke_stream({"say": "nothing", "fail": True})
        nothing = b"".join(before)

    assert (body, nothing) == (b"one", b"")
    assert stream.error is not None
    assert stream.error.body == {"errorMessage": "told", "errorType": "LookupError"}
    assert before.error is not None
    assert before.error.error_type == "LookupError"


def test_a_timeout_of_the_function_cuts_it(emulator: Start, layer: Path) -> None:
    with start(emulator, layer, "hanging", timeout_seconds=1) as environment:
        stream = environment.invoke_stream(event("/hang"))
        body = parted(b"".join(stream))[1]
        after = environment.invoke_stream(event())
        assert parted(b"".join(after))[1] == b"one"

    assert body == b"one"
    assert stream.error is not None
    assert "timed out" in str(stream.error.body)
    assert after.error is None


def test_time_that_runs_out_in_the_middle_is_told_before_lambda_ends_it(
    emulator: Start, layer: Path
) -> None:
    with start(emulator, layer, "slow_model", timeout_seconds=3) as environment:
        stream = environment.invoke_stream(event())
        body = parted(b"".join(stream))[1].decode()

    *pieces, problem, end = body.split("\n\n")
    assert len(pieces) > 3
    assert {*pieces, end} == {"data: piece ", ""}
    assert json.loads(problem.partition("data: ")[2])["code"] == "model_invocation"
    assert stream.error is not None
    assert stream.error.error_type == "ModelInvocationError"


@pytest.mark.parametrize("name", ["awkward_invoked", "awkward_asked"])
@pytest.mark.parametrize("say", ["long", "half", "mute", "ours"])
def test_an_error_of_any_words_ends_the_answer_and_not_the_runtime(
    host: Start, layer: Path, name: str, say: str
) -> None:
    with start(host, layer, name) as environment:
        failed = environment.invoke(event(say=say) | {"say": say})
        after = environment.invoke(event(say="nothing") | {"say": "nothing"})
        lines = lines_with(environment, "Runtime.ExitError")

    if host.name == "aws":  # it collects streams, and takes one that failed for whole
        assert b"data: one\n\n" in failed.payload
    else:
        expected = {"mute": "MuteError", "ours": "InvalidRequestError"}.get(say, "ValueError")
        assert failed.error_type == expected
    assert after.payload.endswith(b"data: one\n\n")
    assert lines == []


def test_an_answer_that_could_not_be_stored_does_not_end_as_a_whole_one(
    emulator: Start, layer: Path, dynamodb: Service, chat_variables: dict[str, str]
) -> None:
    with RefusingTable(dynamodb.url) as table:
        variables = {**chat_variables, "AWS_ENDPOINT_URL_DYNAMODB": table.url}
        with start(emulator, layer, "storing", variables=variables) as environment:
            stream = environment.invoke_stream(event(session=f"refused-{uuid4().hex}"))
            first = read_until(stream, b"first ")
            table.refusal = Refusal("AccessDeniedException", "not authorized")
            (environment.directory / "go").touch()
            body = parted(first + b"".join(stream))[1]

    assert body == b"first second"
    assert stream.error is not None
    assert stream.error.error_type == "StateError"


# Other runtimes, other sizes


def test_an_unknown_runtime_answers_in_one_piece_with_one_line(
    emulator: Start, layer: Path
) -> None:
    variables = {"RUNTIME_CLIENT_VERSION": "9.0.0"}
    with start(emulator, layer, "failing", variables=variables) as environment:
        streams, answers = [], []
        for at in ("never", "middle"):
            streams.append(environment.invoke_stream(event(at=at)))
            answers.append(json.loads(b"".join(streams[-1])))
        lines = lines_with(environment, "Responses are not streamed", "awslambdaric 9.0.0")

    assert [stream.streamed for stream in streams] == [False, False]
    assert answers[0]["statusCode"] == 200
    assert answers[0]["body"] == "data: one\n\ndata: two\n\n"
    assert answers[1]["statusCode"] == 500
    assert len(lines) == 1


LAZY = """
def handler(event, context):
    import streams
    return streams.gated(event, context)
"""


def test_a_handler_that_is_imported_in_the_middle_of_an_invocation_streams_it(
    emulator: Start, layer: Path
) -> None:
    files = {"app.py": LAZY, "streams.py": PROGRAM}
    with emulator(files, opt=layer, variables=VARIABLES, timeout_seconds=10) as environment:
        (environment.directory / "go").touch()
        for _ in range(2):
            stream = environment.invoke_stream(event())
            assert parted(b"".join(stream))[1] == b"first second"
            assert stream.streamed


@pytest.mark.parametrize(
    "request_context",
    [
        {"elb": {"targetGroupArn": "arn:x"}},
        {"http": {"method": "GET"}, "domainName": "a1b2.execute-api.eu-west-1.amazonaws.com"},
        {"http": {"method": "GET"}, "domainName": "api.example.com"},
    ],
    ids=["load balancer", "HTTP API", "HTTP API with a domain of its own"],
)
def test_what_cannot_stream_gets_the_answer_in_one_piece(
    emulator: Start, layer: Path, request_context: dict[str, Any]
) -> None:
    with start(emulator, layer, "failing") as environment:
        stream = environment.invoke_stream({**event(at="never"), "requestContext": request_context})
        answer = json.loads(b"".join(stream))

    assert not stream.streamed
    assert answer["body"] == "data: one\n\ndata: two\n\n"


def test_a_managed_instance_streams_to_many_at_once(emulator: Start, layer: Path) -> None:
    with start(emulator, layer, "gated", managed_concurrency=3) as environment:
        streams = [environment.invoke_stream(event()) for _ in range(3)]
        firsts = [read_until(stream, b"first ") for stream in streams]
        assert not (environment.directory / "ended").exists()
        (environment.directory / "go").touch()
        bodies = [
            parted(first + b"".join(stream))[1]
            for first, stream in zip(firsts, streams, strict=True)
        ]

    assert bodies == [b"first second"] * 3
    assert [stream.error for stream in streams] == [None] * 3


def test_200_mb_pass_with_flat_memory(emulator: Start, layer: Path) -> None:
    with start(emulator, layer, "large", timeout_seconds=60) as environment:
        sizes, peaks = [], []
        for megabytes in (1, 200):
            stream = environment.invoke_stream({"megabytes": megabytes})
            sizes.append(sum(map(len, stream)))
            assert stream.error is None
            until(lambda: len(lines_with(environment, "rss_max_kb")) > len(peaks))
            peaks.append(int(lines_with(environment, "rss_max_kb")[-1].split()[1]))

    assert sizes == [1_000_000, 200_000_000]
    assert peaks[1] - peaks[0] < 8_000, peaks
