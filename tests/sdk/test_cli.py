"""The command, from its first line to its exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HANDLER = """
from lambdallm import handler, Session
from lambdallm.testing import mock_model

@handler(session=Session())
def chat(event, context):
    context.session.add_message("user", event["body"]["message"])
    with mock_model(["Hello!"]):
        reply = context.invoke(context.session.format_history())
    context.session.add_message("assistant", reply)
    return {"reply": reply, "count": context.session.message_count}

def lambda_handler(event, context):
    return {"statusCode": 204}

@handler
def queue(event, context):
    raise RuntimeError("cannot")

@handler(input_schema={"message": str})
def strict(event, context):
    raise RuntimeError("never logged text")
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "app.py").write_text(HANDLER)
    (tmp_path / "handlers").mkdir()
    (tmp_path / "handlers" / "main.py").write_text(HANDLER)
    monkeypatch.delenv("LAMBDALLM_STORE")
    return tmp_path


def command(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    paths = [path] if path else []
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, *filter(None, sys.path)])}
    return subprocess.run(
        [sys.executable, "-m", "lambdallm_cli", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_a_handler_is_run_and_remembers_on_disk() -> None:
    for count in (2, 4):
        run = command(
            "invoke", "app.chat", "--data", '{"message": "Hi"}', "--session", "ada", "--json"
        )
        assert run.returncode == 0, run.stderr
        response = json.loads(run.stdout)
        assert json.loads(response["body"]) == {"reply": "Hello!", "count": count}
    assert Path(".lambdallm").is_dir()


def test_people_get_a_readable_answer() -> None:
    run = command("invoke", "app.chat", "--data", '{"message": "Hi"}')

    assert run.stdout.splitlines()[0] == "status 200"
    assert '"reply": "Hello!"' in run.stdout
    assert "x-session-id: " in run.stdout


def test_the_data_may_be_a_file_or_a_whole_event(project: Path) -> None:
    (project / "body.json").write_text('{"message": "Hi"}')
    assert command("invoke", "app.chat", "--file", "body.json").returncode == 0

    event = json.dumps({"body": {"message": "Hi"}})
    assert command("invoke", "app.chat", "--data", event, "--event").returncode == 0


def test_the_earlier_packages_handler_names_work() -> None:
    run = command("invoke", "main")

    assert (run.returncode, run.stdout.strip()) == (0, "status 204")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("invoke", "app.strict", "--data", "{}"), 1, "body.message"),
        (("invoke", "app.queue"), 3, "status 500"),
        (
            ("invoke", "app.queue", "--event", "--data", '{"Records": []}'),
            3,
            "RuntimeError: cannot",
        ),
        (("invoke", "app.missing"), 2, "no function 'missing'"),
        (("invoke", "nothing.chat"), 2, "No module 'nothing'"),
        (("invoke", "app.chat", "--data", "{"), 2, "not JSON"),
        (("invoke", "app.chat", "--data", "[]", "--event"), 2, "JSON object"),
        (("invoke", "app.chat", "--data", "{}", "--file", "app.py"), 2, "not both"),
        (("invoke",), 2, "MODULE.HANDLER"),
        (("no-such-command",), 2, "No such command"),
    ],
)
def test_exit_codes(arguments: tuple[str, ...], code: int, said: str) -> None:
    run = command(*arguments)

    assert run.returncode == code, run.stderr
    assert said in run.stdout + run.stderr


def test_version_and_help() -> None:
    assert command("--version").stdout == "lambdallm 0.1.0\n"
    assert "Example: lambdallm invoke" in command("invoke", "--help").stdout
    assert "Exit codes" in command("--help").stdout


def test_without_its_extras_it_says_what_to_install(project: Path) -> None:
    shadow = project / "shadow"
    shadow.mkdir()
    (shadow / "click.py").write_text(
        "raise ModuleNotFoundError('No module named click', name='click')"
    )

    run = command("--version", path=str(shadow))

    assert run.returncode == 2
    assert "pip install 'lambdallm[cli]'" in run.stderr
