"""The wrapper in AWS_LAMBDA_EXEC_WRAPPER: what the function's process gets to see."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lambda_runtime_api.emulator import Environment

WRAPPER = Path(__file__).parents[2] / "layer/exec-wrapper"

REPORT = (
    "import json, os, sys, urllib.request\n"
    "print(json.dumps({'environ': dict(os.environ), 'arguments': sys.argv[1:],"
    " 'bypassed': [host for host in ('127.0.0.1', 'localhost', 'in.example', 'out.example')"
    " if urllib.request.proxy_bypass_environment(host)]}))\n"
)


def run(*arguments: str, **variables: str) -> dict[str, Any]:
    """Run a program behind the wrapper; return what it saw."""
    done = subprocess.run(
        [str(WRAPPER), sys.executable, "-I", "-c", REPORT, *arguments],
        env={"PATH": "/usr/bin:/bin", **variables},
        capture_output=True,
        check=True,
    )
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize(
    ("given", "bypassed"),
    [
        ({}, ["127.0.0.1", "localhost"]),
        ({"NO_PROXY": ""}, ["127.0.0.1", "localhost"]),
        ({"NO_PROXY": "in.example"}, ["127.0.0.1", "localhost", "in.example"]),
        ({"no_proxy": "in.example"}, ["127.0.0.1", "localhost", "in.example"]),
        ({"no_proxy": "*"}, ["127.0.0.1", "localhost", "in.example", "out.example"]),
        ({"NO_PROXY": "*"}, ["127.0.0.1", "localhost", "in.example", "out.example"]),
    ],
)
def test_localhost_needs_no_proxy_and_what_was_set_stays(
    given: dict[str, str], bypassed: list[str]
) -> None:
    assert run(**given)["bypassed"] == bypassed


def test_both_names_keep_what_each_was_told() -> None:
    environ = run(NO_PROXY="a.example", no_proxy="b.example")["environ"]

    assert environ["NO_PROXY"] == "a.example,127.0.0.1,localhost"
    assert environ["no_proxy"] == "b.example,127.0.0.1,localhost"


def test_what_is_there_already_is_not_added_again() -> None:
    environ = run(NO_PROXY="localhost,in.example,127.0.0.1")["environ"]

    assert environ["NO_PROXY"] == "localhost,in.example,127.0.0.1"
    assert environ["no_proxy"] == "localhost,in.example,127.0.0.1"


def test_arguments_arrive_as_they_were() -> None:
    arguments = ["two words", "*", "$HOME", "", "'\"", "-n"]

    assert run(*arguments)["arguments"] == arguments


def test_the_next_wrapper_runs_with_everything_and_only_once(tmp_path: Path) -> None:
    following = tmp_path / "the next one"
    following.write_text('#!/bin/sh\nexport RAN="$RAN+"\nexec "$@"\n')
    following.chmod(0o755)

    seen = run("an argument", LAMBDALLM_NEXT_WRAPPER=str(following))

    assert seen["environ"]["RAN"] == "+"
    assert "LAMBDALLM_NEXT_WRAPPER" not in seen["environ"]
    assert seen["arguments"] == ["an argument"]
    assert "127.0.0.1" in seen["bypassed"]


@pytest.mark.parametrize("kind", ["missing", "folder", "not executable"])
def test_a_next_wrapper_that_cannot_run_is_named_and_left_out(tmp_path: Path, kind: str) -> None:
    following = tmp_path / "next"
    if kind == "folder":
        following.mkdir()
    if kind == "not executable":
        following.write_text('exec "$@"\n')

    done = subprocess.run(
        [str(WRAPPER), "/bin/echo", "the function"],
        env={"PATH": "/usr/bin:/bin", "LAMBDALLM_NEXT_WRAPPER": str(following)},
        capture_output=True,
        check=True,
        text=True,
    )

    warning, answer = done.stdout.splitlines()
    assert answer == "the function"
    assert warning.startswith(f"lambdallm: {following} (LAMBDALLM_NEXT_WRAPPER) cannot be")


def test_a_wrapper_that_names_itself_does_not_run_forever() -> None:
    assert run("once", LAMBDALLM_NEXT_WRAPPER=str(WRAPPER))["arguments"] == ["once"]


def test_a_function_runs_behind_it(opt: Path, tmp_path: Path) -> None:
    pytest.importorskip("awslambdaric", reason="AWS's runtime client is built for Linux")
    (tmp_path / "app.py").write_text(
        "import os\ndef handler(event, context):\n    return os.environ['NO_PROXY']\n"
    )
    variables = {
        "AWS_LAMBDA_EXEC_WRAPPER": "/opt/lambdallm/exec-wrapper",
        "AWS_REGION": "us-east-1",
        "LAMBDALLM_STORE": "memory:",
    }
    with Environment(tmp_path, "app.handler", opt=opt, variables=variables) as environment:
        assert environment.invoke({}).json() == "127.0.0.1,localhost"
