"""The wrapper in AWS_LAMBDA_EXEC_WRAPPER: what the function's process gets to see."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lambda_runtime_api.emulator import Environment

if TYPE_CHECKING:
    from collections.abc import Iterator

WRAPPER = Path(__file__).parents[2] / "layer/exec-wrapper"
KEY = "lambdallm-0123456789abcdef"

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


class Sidecar:
    """What a sidecar leaves while it listens: a port, and files."""

    def __init__(self, directory: Path) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.directory = directory
        directory.mkdir()
        (directory / "clients").write_text(f"{self.port} {KEY}\n")

    def points(self, **variables: str) -> dict[str, str]:
        """Return what the wrapper has changed for a function with these variables."""
        given = {"LAMBDALLM_DIRECTORY": str(self.directory), **variables}
        environ = run(**given)["environ"]
        kept = {"PATH", "NO_PROXY", "no_proxy", "PWD", "SHLVL", "_", "OLDPWD", "LC_CTYPE"}
        return {
            name: value
            for name, value in environ.items()
            if name not in kept and given.get(name) != value
        }

    def was_asked(self) -> bool:
        self.listener.setblocking(False)
        try:
            self.listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[Sidecar]:
    sidecar = Sidecar(tmp_path / "lambdallm")
    with sidecar.listener:
        yield sidecar


def test_clients_are_pointed_at_a_sidecar_that_listens(sidecar: Sidecar) -> None:
    at = f"http://127.0.0.1:{sidecar.port}"

    assert sidecar.points() == {
        "OPENAI_BASE_URL": f"{at}/openai/v1",
        "OPENAI_API_KEY": KEY,
        "OPENAI_CUSTOM_HEADERS": f"lambdallm-token: {KEY}",
        "ANTHROPIC_BASE_URL": f"{at}/anthropic",
        "ANTHROPIC_API_KEY": KEY,
        "ANTHROPIC_CUSTOM_HEADERS": f"lambdallm-token: {KEY}",
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": f"{at}/bedrock",
        "ANTHROPIC_BEDROCK_BASE_URL": f"{at}/bedrock",
        "LAMBDALLM_UPSTREAM_OPENAI_BASE_URL": "",
        "LAMBDALLM_UPSTREAM_OPENAI_API_KEY": "",
        "LAMBDALLM_UPSTREAM_OPENAI_CUSTOM_HEADERS": "",
        "LAMBDALLM_UPSTREAM_ANTHROPIC_BASE_URL": "",
        "LAMBDALLM_UPSTREAM_ANTHROPIC_API_KEY": "",
        "LAMBDALLM_UPSTREAM_ANTHROPIC_CUSTOM_HEADERS": "",
        "LAMBDALLM_UPSTREAM_AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "",
        "LAMBDALLM_UPSTREAM_ANTHROPIC_BEDROCK_BASE_URL": "",
    }
    assert (sidecar.directory / "directed").exists()


def test_keys_stay_and_what_was_said_before_is_kept(sidecar: Sidecar) -> None:
    changed = sidecar.points(
        OPENAI_API_KEY='sk-\'of "mine" $HOME',
        ANTHROPIC_AUTH_TOKEN="oauth",
        OPENAI_BASE_URL="https://proxy.example/v1?a=$(b)`c`",
        OPENAI_CUSTOM_HEADERS="x-one: 1\nx-two: 2",
    )

    assert "OPENAI_API_KEY" not in changed
    assert "ANTHROPIC_API_KEY" not in changed
    assert changed["LAMBDALLM_UPSTREAM_OPENAI_BASE_URL"] == "https://proxy.example/v1?a=$(b)`c`"
    assert changed["OPENAI_CUSTOM_HEADERS"] == f"x-one: 1\nx-two: 2\nlambdallm-token: {KEY}"
    assert changed["LAMBDALLM_UPSTREAM_OPENAI_CUSTOM_HEADERS"] == "x-one: 1\nx-two: 2"


@pytest.mark.parametrize(
    ("chosen", "services"),
    [
        ("off", set()),
        ("", {"openai", "anthropic", "bedrock"}),
        ("openai", {"openai"}),
        ("bedrock, anthropic", {"bedrock", "anthropic"}),
        ("*", set()),
    ],
)
def test_which_clients_may_be_chosen(
    sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch, chosen: str, services: set[str]
) -> None:
    if chosen == "*":
        with pytest.raises(json.JSONDecodeError):  # a sentence of ours stands before the report
            sidecar.points(LAMBDALLM_DROP_IN=chosen)
        return
    changed = sidecar.points(LAMBDALLM_DROP_IN=chosen)

    named = {
        "openai": "OPENAI_BASE_URL",
        "anthropic": "ANTHROPIC_BASE_URL",
        "bedrock": "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
    }
    assert {service for service, name in named.items() if name in changed} == services


def test_a_second_run_changes_nothing(sidecar: Sidecar) -> None:
    first = sidecar.points(OPENAI_BASE_URL="https://proxy.example", ANTHROPIC_API_KEY="sk-ant")

    assert sidecar.points(**first, ANTHROPIC_API_KEY="sk-ant") == {}


def test_a_sidecar_that_sleeps_is_not_woken(sidecar: Sidecar) -> None:
    (sidecar.directory / "starting").touch()

    assert "OPENAI_BASE_URL" in sidecar.points()
    assert not sidecar.was_asked()


@pytest.mark.parametrize(
    "left", ["", "none", "garbage", "65536 lambdallm-x", "1 somebody", "{port}", "{port} key"]
)
def test_without_a_sidecar_nothing_is_changed(sidecar: Sidecar, left: str) -> None:
    clients = sidecar.directory / "clients"
    clients.write_text(left.format(port=sidecar.port))
    if left == "none":
        clients.unlink()

    assert sidecar.points() == {}


def test_it_does_not_wait_for_one_that_will_not_listen(sidecar: Sidecar, tmp_path: Path) -> None:
    """As in the layer, where the launcher stands beside it; `sleep` would fail this test."""
    opt = tmp_path / "opt"
    (opt / "extensions").mkdir(parents=True)
    (opt / "extensions/lambdallm").touch()
    (opt / "lambdallm").mkdir()
    wrapper = shutil.copy(WRAPPER, opt / "lambdallm")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sleep").write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    (tmp_path / "bin/sleep").chmod(0o755)
    (sidecar.directory / "clients").write_text("none\n")

    done = subprocess.run(
        [wrapper, "/bin/echo", "the function"],
        env={
            "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
            "LAMBDALLM_DIRECTORY": str(sidecar.directory),
        },
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "the function\n"


@pytest.mark.parametrize(
    ("left", "beside", "why"),
    [
        ("", True, "the sidecar did not listen within 0.3 s"),
        ("1 lambdallm-x", True, "the sidecar did not listen within 0.3 s"),
        ("none", True, "the sidecar has failed, as it says itself"),
        ("", False, "no sidecar listens, and there is none in {opt}/lambdallm/../extensions"),
    ],
)
def test_where_clients_go_straight_to_their_apis_one_line_says_so_and_why(
    tmp_path: Path, left: str, beside: bool, why: str
) -> None:
    opt = tmp_path / "opt"
    (opt / "extensions").mkdir(parents=True)
    if beside:
        (opt / "extensions/lambdallm").touch()
    (opt / "lambdallm").mkdir()
    wrapper = shutil.copy(WRAPPER, opt / "lambdallm")
    (tmp_path / "clients").write_text(left)
    given = {"PATH": "/usr/bin:/bin", "LAMBDALLM_DIRECTORY": str(tmp_path)}

    def said(**variables: str) -> tuple[str, str]:
        done = subprocess.run(
            [wrapper, "/bin/echo", "the function"],
            env={**given, **variables},
            capture_output=True,
            check=True,
            text=True,
            timeout=60,
        )
        return done.stdout, done.stderr

    line = f"lambdallm: {why.format(opt=opt)}: the clients of %s go straight to their APIs, unmetered.\n"  # noqa: E501
    assert said() == ("the function\n", line % "openai,anthropic,bedrock")
    assert said(LAMBDALLM_DROP_IN="openai") == ("the function\n", line % "openai")
    for wanted in ({"LAMBDALLM_DROP_IN": "off"}, {"LAMBDALLM_SIDECAR": "off"}):
        assert said(**wanted) == ("the function\n", "")


def test_where_nobody_listens_any_more_nothing_is_changed(sidecar: Sidecar) -> None:
    sidecar.listener.close()

    assert sidecar.points() == {}
    assert not (sidecar.directory / "directed").exists()


def test_a_sidecar_that_is_not_to_be_looked_for_is_not_used(sidecar: Sidecar) -> None:
    assert sidecar.points(LAMBDALLM_SIDECAR="off") == {}


def test_a_folder_that_takes_no_files_is_no_reason_to_fail(sidecar: Sidecar) -> None:
    (sidecar.directory / "directed").mkdir()  # so that nothing can be written there

    assert "OPENAI_BASE_URL" in sidecar.points()


def test_without_bash_the_function_runs_as_before(sidecar: Sidecar, tmp_path: Path) -> None:
    shell = shutil.which("dash") or pytest.skip("there is no shell but bash")
    done = subprocess.run(
        [shell, str(WRAPPER), sys.executable, "-I", "-c", REPORT],
        env={"PATH": str(tmp_path), "LAMBDALLM_DIRECTORY": str(sidecar.directory)},
        capture_output=True,
        check=True,
    )

    environ = json.loads(done.stdout)["environ"]
    assert environ["NO_PROXY"] == "127.0.0.1,localhost"
    assert "OPENAI_BASE_URL" not in environ
    assert done.stderr.startswith(b"lambdallm: no bash is there to look for the sidecar with: the")


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
