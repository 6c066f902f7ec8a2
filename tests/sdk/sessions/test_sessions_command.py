"""`lambdallm sessions` over sessions that handlers and scripts have left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner

from fakes.aws_account import AwsAccount
from fakes.moto_server import make_table
from fakes.session_commands import OWNER, close, listed, ran, run, say
from lambdallm import Session, _settings, handler
from lambdallm.testing import MockLambdaContext
from lambdallm_cli.commands import lambdallm as command
from lambdallm_cli.sessions_store import SessionStore


def test_sessions_are_listed_with_their_owners(store: str) -> None:
    assert sorted(listed(store)) == [("ada", ""), ("ada", OWNER), ("bob", "")]
    assert listed(store, "--owner", OWNER) == [("ada", OWNER)]
    assert sorted(listed(store, "--owner", "")) == [("ada", ""), ("bob", "")]
    assert len(listed(store, "--limit", "2")) == 2
    assert listed(store, "--older-than", "1h") == []

    result = run("list", "--store", store)
    lines = result.stdout.splitlines()
    assert lines[0].split() == [
        "session", "owner", "exchanges", "last", "(UTC)", "expires", "(UTC)",
    ]  # fmt: skip
    assert lines[-1] == "3 sessions."
    assert ("whole table is read" in result.stderr) == store.startswith("dynamodb")
    assert "No such" in run("list", "--store", store, "--owner", "nobody").stdout


def test_one_is_shown_as_it_was_said(store: str) -> None:
    shown = run("show", "ada", "--owner", OWNER, "--store", store)

    assert shown.exit_code == 0
    assert "user: My secret is é😀\nassistant: Noted.\n" in shown.stdout
    turns = ran("show", "ada", "--owner", OWNER, "--store", store)["turns"]
    assert [turn["content"] for turn in turns][-1] == "Nothing."


def test_what_a_user_said_commands_no_terminal(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/said.db"
    with Session(store=store).load("eve") as session:
        session.add_message("user", "half \ud83d\x1b]0;title\x07 \u202eback\nline")
        session.add_message("assistant", "Hm.")
    shown = run("show", "eve", "--store", store)

    assert shown.exit_code == 0, shown.output
    assert "user: half \\ud83d\\x1b]0;title\\x07 \\u202eback\nline\n" in shown.stdout


@pytest.mark.parametrize("verb", ["show", "delete"])
def test_an_id_that_is_not_there_says_what_is_near(store: str, verb: str) -> None:
    yes = ["--yes"] if verb == "delete" else []

    missing = run(verb, "adda", "--store", store, *yes)
    assert missing.exit_code == 1
    assert f"There is ada, ada --owner '{OWNER}'" in missing.stderr

    of_another = run(verb, "ada", "--owner", "lambda:eve", "--store", store, *yes)
    assert of_another.exit_code == 1
    assert "There is ada" in of_another.stderr
    assert len(listed(store)) == 3


def test_what_is_deleted_is_gone_and_nothing_else(store: str) -> None:
    done = ran("delete", "ada", "--owner", OWNER, "--store", store, "--yes")

    assert done == {"deleted": 1, "items": 5, "calls": 0}
    assert sorted(listed(store)) == [("ada", ""), ("bob", "")]
    assert run("show", "ada", "--store", store).exit_code == 0


def test_nothing_is_deleted_before_somebody_says_yes(store: str) -> None:
    refused = run("delete", "ada", "bob", "--store", store, input="n\n")
    assert (refused.exit_code, "Delete 2 sessions for good?" in refused.stderr) == (1, True)
    assert len(listed(store)) == 3

    assert run("delete", "ada", "bob", "--store", store, input="y\n").exit_code == 0
    assert listed(store) == [("ada", OWNER)]


def test_an_owner_or_an_age_may_say_which_ones(store: str, monkeypatch: Any) -> None:
    assert ran("delete", "--older-than", "1d", "--store", store, "--yes")["deleted"] == 0
    assert ran("delete", "--owner", "", "--store", store, "--yes")["deleted"] == 2
    assert listed(store) == [("ada", OWNER)]
    now = _settings.epoch_ms()
    monkeypatch.setattr("lambdallm_cli.sessions_asked._settings.epoch_ms", lambda: now + 7_200_000)
    assert ran("delete", "--older-than", "1h", "--store", store, "--yes")["deleted"] == 1
    assert listed(store) == []


def test_records_of_its_calls_go_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/sessions.db"
    monkeypatch.setenv("LAMBDALLM_STORE", url)
    monkeypatch.setenv("LAMBDALLM_SCRIPT", json.dumps({"answers": [{"text": "Fine."}]}))

    @handler(session=Session(), model="scripted/one")
    def ask(event: Any, context: Any) -> str:
        context.session.add_message("user", "How are you?")
        context.chat("Which tool?")
        context.session.add_message("assistant", context.invoke(context.session.format_history()))
        return "ok"

    ask({"session_id": "ada"}, MockLambdaContext())
    ask({"session_id": "bob"}, MockLambdaContext())
    close()
    runner = CliRunner()
    before = runner.invoke(command, ["calls", "list", "--json", "--store", url])
    assert json.loads(before.stdout)["found"] == 4

    assert ran("delete", "ada", "--store", url, "--yes")["calls"] == 2

    after = runner.invoke(command, ["calls", "list", "--json", "--store", url])
    assert json.loads(after.stdout)["found"] == 2


def test_the_store_of_a_deployed_function_is_meant(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"dynamodb://{make_table(server, 'pk', 'sk')}"
    monkeypatch.setenv("LAMBDALLM_STORE", url)
    say("ada", "", "Hello", "Hi")
    close()
    monkeypatch.setenv("LAMBDALLM_STORE", "memory:")
    account = AwsAccount()
    account.functions["chat"] = {
        "FunctionName": "chat",
        "Environment": {"Variables": {"LAMBDALLM_STORE": url, "OTHER": "x"}},
    }
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", account.url)
    try:
        found = ran("list", "--function", "chat", "--region", "us-east-1")
        assert [session["session_id"] for session in found["sessions"]] == ["ada"]
        assert run("list", "--function", "nobody", "--region", "us-east-1").exit_code == 3
    finally:
        account.close()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("list", "--store", "sqlite:///nothing.db"), 2, "There is no file"),
        (("list", "--store", "memory:"), 2, "one process"),
        (("list", "--store", "ftp://x"), 2, "is no store"),
        (("list", "--older-than", "soon"), 2, "90m"),
        (("list", "--store", "memory:", "--function", "chat"), 2, "not both"),
        (("delete",), 2, "Name sessions"),
        (("delete", "a", "--older-than", "1d"), 2, "not both"),
        (("import",), 2, "FILE"),
        (("import", "missing.jsonl"), 2, "does not exist"),
        (("show",), 2, "ID"),
        (("move", "a"), 2, "--to"),
    ],
)
def test_what_cannot_be_is_said(arguments: tuple[str, ...], code: int, said: str) -> None:
    result = run(*arguments)

    assert result.exit_code == code, result.output
    assert said in result.stderr


def test_a_wrong_id_and_a_table_that_is_not_there(server: Any, tmp_path: Path) -> None:
    assert run("list", "--store", f"dynamodb://{uuid4().hex}").exit_code == 3
    (tmp_path / "broken.db").write_bytes(b"not a database" * 100)
    assert run("list", "--store", f"sqlite:///{tmp_path}/broken.db").exit_code == 3
    (tmp_path / "a.db").touch()
    wrong = run("show", "a#b", "--store", f"sqlite:///{tmp_path}/a.db")
    assert (wrong.exit_code, "printable ASCII" in wrong.stderr) == (2, True)


@pytest.mark.parametrize("verb", ["list", "show", "delete", "export", "import", "move"])
def test_every_command_explains_itself_with_an_example(verb: str) -> None:
    assert "Example" in run(verb, "--help").stdout


def test_a_table_of_many_sessions_is_listed_whole(server: Any) -> None:
    name = make_table(server, "pk", "sk")
    for number in range(60):
        head = {"schema": {"N": "1"}, "exchanges": {"N": "1"}, "at": {"N": str(number)}}
        server.put_item(
            TableName=name,
            Item={"pk": {"S": f"SESSION#{number}"}, "sk": {"S": "HEAD"}, **head,
                  "metadata": {"S": json.dumps({"x": "x" * 50_000})}},
        )  # fmt: skip
    found = ran("list", "--store", f"dynamodb://{name}", "--limit", "3")

    assert found["found"] == 60
    assert [session["session_id"] for session in found["sessions"]] == ["59", "58", "57"]


def test_a_store_that_stumbles_is_asked_again(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = SessionStore({"LAMBDALLM_STORE": store})
    asked: list[str] = []
    request = opened._transport.request

    def stumble(route: Any, message: Any, *, timeout_seconds: float) -> Any:
        from lambdallm import StateError

        asked.append(route.path)
        if len(asked) < 4:
            raise StateError("The table is throttled.", retryable=True)
        return request(route, message, timeout_seconds=timeout_seconds)

    monkeypatch.setattr(opened._transport, "request", stumble)
    try:
        assert opened.delete("ada", "")["found"]
    finally:
        opened.close()
    assert len(asked) == 4


@pytest.mark.parametrize("lost", [False, True])
def test_large_values_go_too_even_where_one_was_lost(
    server: Any, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    name = make_table(server, "pk", "sk")
    monkeypatch.setenv("LAMBDALLM_STORE", f"dynamodb://{name}")
    say("ada", "", "q" * 900_000, "a" * 500_000)
    close()

    def elsewhere() -> list[dict[str, Any]]:
        items = server.scan(TableName=name, ProjectionExpression="pk, sk")["Items"]
        return [item for item in items if not item["pk"]["S"].startswith("SESSION#")]

    assert len(elsewhere()) > 2
    if lost:
        server.delete_item(TableName=name, Key=elsewhere()[0])
        assert run("show", "ada", "--store", f"dynamodb://{name}").exit_code == 3

    assert ran("delete", "ada", "--store", f"dynamodb://{name}", "--yes")["deleted"] == 1

    assert elsewhere() == []
    assert listed(f"dynamodb://{name}") == []
