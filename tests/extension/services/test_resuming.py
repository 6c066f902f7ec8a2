"""Who goes on with a run, and how often."""

from __future__ import annotations

from typing import Any

import pytest

from lambdallm_extension import errors
from lambdallm_extension.domain.moments import Moment
from lambdallm_extension.services.resuming import AFTER_LEASE_MS, Resuming
from lambdallm_extension.services.run_terms import Lease, Terms


class Asked:
    """A resumer that takes note, and may fail."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.error: errors.ExtensionError | None = None

    def _take(self, what: str, value: Any) -> None:
        self.asked.append((what, value))
        if self.error is not None:
            raise self.error

    def resume(self, resumption: Any, *, delay_seconds: int, deadline_ms: int) -> None:
        assert deadline_ms == 9_000
        self._take("resume", (resumption.event, delay_seconds))

    def watch(self, resumption: Any, *, at_epoch_ms: int, deadline_ms: int) -> None:
        assert deadline_ms == 9_000
        self._take("watch", at_epoch_ms)

    def unwatch(self, resumption: Any, *, deadline_ms: int) -> None:
        assert deadline_ms == 9_000
        self._take("unwatch", resumption.name)


@pytest.fixture
def resumer() -> Asked:
    return Asked()


@pytest.fixture
def said() -> list[str]:
    return []


def resuming(
    resumer: Asked, said: list[str], via: str, *, attempt: int = 1, delay: int = 0
) -> Resuming:
    rule = {"via": via, "target": "arn", "event": "{}", "delay_seconds": delay}
    terms = Terms("RUN#r", "r", attempt, "life", Lease(3_000, Moment(0, 0.0, 0.0), 5_000), None, 60)
    return Resuming(rule, terms, 3, resumer, lambda: 9_000, said.append)  # type: ignore[arg-type]


@pytest.mark.parametrize("via", ["self", "sqs"])
def test_an_interrupted_attempt_asks_for_the_next_one(
    resumer: Asked, said: list[str], via: str
) -> None:
    attempt = resuming(resumer, said, via, delay=7)
    attempt.begin()

    assert attempt.end("interrupted") is True
    assert resumer.asked == [("resume", ("{}", 7))]


@pytest.mark.parametrize("status", ["completed", "failed", "waiting", "stopped"])
def test_an_attempt_that_ended_otherwise_asks_nobody(
    resumer: Asked, said: list[str], status: Any
) -> None:
    assert resuming(resumer, said, "self").end(status) is False
    assert resumer.asked == []


def test_the_last_attempt_asks_nobody(resumer: Asked, said: list[str]) -> None:
    assert resuming(resumer, said, "self", attempt=2).end("interrupted") is True
    assert resuming(resumer, said, "self", attempt=3).end("interrupted") is False
    assert len(resumer.asked) == 1


def test_a_schedule_is_there_before_anything_can_die(resumer: Asked, said: list[str]) -> None:
    attempt = resuming(resumer, said, "schedule")
    attempt.begin()

    assert resumer.asked == [("watch", 5_000 + AFTER_LEASE_MS)]
    assert attempt.end("completed") is False
    assert resumer.asked[1][0] == "unwatch"


def test_a_service_that_refuses_fails_nothing_and_is_told(resumer: Asked, said: list[str]) -> None:
    resumer.error = errors.SettingError("The role needs more.")

    assert resuming(resumer, said, "self").end("interrupted") is False
    assert said == ["Run r: The role needs more."]
