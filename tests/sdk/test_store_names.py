"""What `Session(store=…)` means beside LAMBDALLM_STORE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import lambdallm
from lambdallm import Session, handler
from lambdallm.testing import MockLambdaContext


def remember(store: str, text: str) -> None:
    with Session(store=store).load("s") as session:
        session.add_message("user", text)
        session.add_message("assistant", "yes")


def said(store: str) -> list[Any]:
    return [message.content for message in Session(store=store).load("s").messages][::2]


@pytest.mark.parametrize("store", ["dynamodb", "memory", "memory:"])
def test_a_kind_means_the_store_that_the_variable_names(store: str) -> None:
    remember("dynamodb", "here")

    assert said(store) == ["here"]


def test_a_url_means_that_store(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("one", "two")]
    remember("dynamodb", "here")
    for url in urls:
        remember(url, url)

    assert [said(url) for url in (*urls, "dynamodb")] == [[urls[0]], [urls[1]], ["here"]]
    assert (tmp_path / "one.db").is_file()


def test_handlers_of_one_function_may_keep_sessions_apart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/apart.db"

    def talk(event: Any, context: Any) -> int:
        context.session.add_message("user", "q")
        context.session.add_message("assistant", "a")
        return int(context.session.message_count)

    apart, here = handler(session=Session(store=url))(talk), handler(session=Session())(talk)
    counts = [
        function({"session_id": "s"}, MockLambdaContext())["body"]
        for function in (apart, here, apart)
    ]

    assert counts == ["2", "2", "4"]


@pytest.mark.parametrize("store", ["redis", "sqlite"])
def test_a_kind_that_contradicts_the_variable_is_refused(store: str) -> None:
    with pytest.raises(lambdallm.ConfigurationError, match="LAMBDALLM_STORE says memory"):
        Session(store=store).load("s")


@pytest.mark.parametrize("store", ["dynamo", "", None, 7])
def test_what_is_no_store_is_refused_with_those_there_are(store: Any) -> None:
    with pytest.raises(lambdallm.ConfigurationError, match="dynamodb://TABLE"):
        Session(store=store).load("s")


def test_a_url_that_is_no_store_is_refused_by_the_engine() -> None:
    with pytest.raises(lambdallm.ConfigurationError, match="is no store"):
        Session(store="ftp://x").load("s")


def test_without_the_variable_a_kind_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMBDALLM_STORE")
    remember("memory", "kept here")
    assert said("memory") == ["kept here"]
    assert not Path(".lambdallm").exists()

    remember("sqlite", "on disk")
    assert said("dynamodb") == ["on disk"], "outside Lambda a file stands in for the table"
    with pytest.raises(lambdallm.ConfigurationError, match="names none"):
        Session(store="redis").load("s")


@pytest.mark.parametrize("role", ["tool", "function", "", "User", 7])
def test_a_role_that_is_none_is_refused_with_words(role: Any) -> None:
    session = Session()
    with pytest.raises(lambdallm.InvalidRequestError, match="'user', 'assistant' or 'system'"):
        session.add_message(role, "x")
    assert session.messages == []
