"""What is never passed on, whoever asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lambdallm_extension.raw_admission import Incoming, RefusedError
from lambdallm_extension.raw_forwarding import Forwarder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("path", ["/../x", "/a/..", "/%2e%2e/x", "/a/%252E%252e/b?c"])
def test_a_path_that_leaves_its_api_goes_nowhere(path: str) -> None:
    headers = [("host", "127.0.0.1:2772"), ("authorization", "Bearer k")]
    asked = Incoming("POST", f"/openai/v1{path}", headers, b"{}")

    with pytest.raises(RefusedError, match="dot segments") as refused:
        Forwarder("k", {"OPENAI_API_KEY": "sk"}).pass_on(asked)
    assert refused.value.status == 400


LIMITED = "cost: {budget: {daily: '1'}}\n"


@pytest.mark.parametrize(
    "text",
    [
        LIMITED,
        LIMITED.encode("utf-16"),
        "cost: {Budgets: {}}\n",
        '{"cost": {"budget": {"daily": "1"}}}',
        LIMITED + "# unmetered: allow\nenvironments: {dev: {cost: {unmetered: allow}}}\n",
    ],
)
def test_where_a_budget_is_to_hold_nothing_is_sent_that_may_be_billed(
    tmp_path: Path, text: str | bytes
) -> None:
    place = tmp_path / "lambdallm.yaml"
    place.write_bytes(text if isinstance(text, bytes) else text.encode())
    environ = {"OPENAI_API_KEY": "sk", "LAMBDA_TASK_ROOT": str(tmp_path)}
    forwarder = Forwarder("k", {**environ, "OPENAI_BASE_URL": "http://127.0.0.1:1"})

    with pytest.raises(RefusedError, match="has a budget") as refused:
        forwarder.pass_on(asked("POST"))
    assert refused.value.status == 503
    with pytest.raises(RefusedError, match="did not answer"):  # it was sent, and nobody is there
        forwarder.pass_on(asked("GET"))


@pytest.mark.parametrize(
    "text",
    ["defaults: {}\n", LIMITED + "  unmetered: allow\n", '{"budget": 1, "unmetered": "allow"}'],
)
def test_where_none_is_or_all_may_pass_it_is_sent(tmp_path: Path, text: str) -> None:
    place = tmp_path / "there.yaml"
    place.write_text(text)
    environ = {"OPENAI_API_KEY": "sk", "OPENAI_BASE_URL": "http://127.0.0.1:1"}

    for config in (place, tmp_path / "none.yaml"):
        with pytest.raises(RefusedError, match="did not answer"):
            Forwarder("k", {**environ, "LAMBDALLM_CONFIG": str(config)}).pass_on(asked("POST"))


def test_a_configuration_that_cannot_be_read_may_have_a_budget(tmp_path: Path) -> None:
    environ = {"OPENAI_API_KEY": "sk", "LAMBDALLM_CONFIG": str(tmp_path)}

    with pytest.raises(RefusedError, match="cannot be read"):
        Forwarder("k", environ).pass_on(asked("POST"))


def asked(method: str) -> Incoming:
    headers = [("host", "127.0.0.1:2772"), ("authorization", "Bearer k")]
    return Incoming(method, "/openai/v1/chat/completions", headers, b"{}")
