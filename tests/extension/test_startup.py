"""What a cold start says of itself."""

import sys

import pytest

from lambdallm_extension import VERSION, startup
from lambdallm_extension.engine import Engine
from lambdallm_extension.settings import Settings, SystemClock, SystemRandom
from lambdallm_wire import names

FUNCTION = {
    "AWS_LAMBDA_FUNCTION_NAME": "chat",
    "AWS_LAMBDA_FUNCTION_VERSION": "7",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
    "AWS_REGION": "eu-west-1",
    "LAMBDALLM_STORE": "dynamodb://sessions",
    "LAMBDALLM_MODEL": "bedrock/amazon.nova-lite-v1:0",
}


def said_at_start(**environ: str) -> list[str]:
    lines: list[str] = []
    engine = Engine(
        Settings.from_environ({**FUNCTION, **environ}),
        clock=SystemClock(),
        random=SystemRandom(),
        sleep=lambda _seconds: None,
        write_line=lines.append,
    )
    engine.open()
    engine.close()
    return lines


def read(line: str) -> dict[str, str]:
    assert line.startswith("lambdallm: started ")
    return dict(word.split("=", 1) for word in line.split()[2:])


def test_one_line_says_what_runs() -> None:
    (line,) = said_at_start()

    assert read(line) == {
        "sidecar": VERSION,
        "wire": str(names.WIRE_VERSION),
        "python": ".".join(map(str, sys.version_info[:3])),
        "function": "chat:7",
        "memory_mb": "1024",
        "region": "eu-west-1",
        "store": "dynamodb://sessions",
        "model": "bedrock/amazon.nova-lite-v1:0",
    }


@pytest.mark.parametrize(
    ("environ", "name", "value"),
    [
        ({"LAMBDALLM_STORE": ""}, "off", "sessions,call_records"),
        ({"LAMBDALLM_STORE": ""}, "store", "none"),
        ({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128"}, "advice", "memory_mb>=256"),
        ({"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:1"}, "endpoints", "dynamodb"),
        ({"AWS_REGION": ""}, "region", "none"),
        ({"LAMBDALLM_STORE": "dynamodb://a table"}, "store", "dynamodb://a_table"),
    ],
)
def test_what_is_off_or_advised_is_in_the_line(
    environ: dict[str, str], name: str, value: str
) -> None:
    assert read(said_at_start(**environ)[-1])[name] == value


def test_a_wrong_store_is_a_problem_and_none_is_not() -> None:
    problem, line = said_at_start(LAMBDALLM_STORE="floppy:")

    assert "LAMBDALLM_STORE" in problem
    assert read(line)["off"] == "sessions,call_records"


def test_problems_are_said_even_where_telemetry_is_off() -> None:
    assert said_at_start(LAMBDALLM_TELEMETRY="off") == []

    (problem,) = said_at_start(LAMBDALLM_TELEMETRY="off", LAMBDALLM_PORT="many")
    assert "LAMBDALLM_PORT='many'" in problem


def test_only_versions_that_differ_are_worth_a_sentence() -> None:
    assert startup.versions_differ(VERSION) == ""
    assert startup.versions_differ("") == ""
    assert f"The SDK is 9.9.9, the layer {VERSION}." in startup.versions_differ("9.9.9")
