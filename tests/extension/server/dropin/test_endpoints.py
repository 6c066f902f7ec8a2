"""The drop-in endpoints: admitted, accounted to whoever asks, passed on as they came."""

import json
from typing import Any

import pytest

from fakes.admission import authenticator
from fakes.played import Gateway, PlayedReply, Player, lost, refused
from lambda_runtime_api.http1 import Request
from lambdallm_extension import errors
from lambdallm_extension.providers import find_dialect
from lambdallm_extension.server.dropin.endpoints import Endpoints
from lambdallm_extension.server.under_way import UnderWay
from lambdallm_extension.services.invocations import Invocations
from lambdallm_extension.services.passing import Passing
from lambdallm_extension.services.tasks import Workers

ASKED: Any = {"model": "gpt", "messages": [{"role": "user", "content": "hi"}]}
ANSWERED = json.dumps(
    {
        "id": "r", "model": "gpt-1", "usage": {"prompt_tokens": 14, "completion_tokens": 9},
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
        ],
    }
).encode()  # fmt: skip
STREAMED = (
    b'data: {"id":"r","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\n',
    b'data: {"id":"r","choices":[],"usage":{"prompt_tokens":14,"completion_tokens":9}}\n\n',
    b"data: [DONE]\n\n",
)


class Desk:
    """The endpoints, over played replies."""

    cost_headers = ""

    def __init__(self) -> None:
        self.gateway = Gateway()
        self.player = Player()
        self.reports: list[Any] = []
        self.logged: list[str] = []
        self.services: list[str] = []
        gateway = self.gateway
        self.invocations = Invocations(
            lambda: gateway.store, lambda: gateway.recorder, Workers(), gateway.clock,
            self, environment_id=lambda: "env", remembering=pytest.fail,
        )  # fmt: skip
        self._passing = Passing(gateway.books, gateway.streams, drain_seconds=10)
        self.endpoints = Endpoints(
            authenticator(), self, self.invocations, self, UnderWay(),
        )  # fmt: skip

    def passing(self) -> Passing:
        return self._passing

    def dialect(self, name: str, model_id: str) -> Any:
        return find_dialect(name, model_id)

    def provider(self, name: str) -> Any:
        self.services.append(name)
        return self.player

    def emit(self, report: Any) -> None:
        self.reports.append(report)

    def log(self, message: str) -> None:
        self.logged.append(message)

    def drop(self, records: int, *, epoch_ms: int) -> None:
        raise AssertionError(records)

    def begin(self, work_id: str = "w") -> Any:
        begin: Any = {
            "work_id": work_id, "request_id": work_id, "session": None,
            "deadline_epoch_ms": self.gateway.deadline_ms(),
        }  # fmt: skip
        self.invocations.begin(begin, 1)
        return self.invocations.find(work_id)

    def serve(
        self, outcome: Any, target: str = "/openai/v1/chat/completions", asked: Any = None,
        method: str = "POST", key: str = "sk-of-the-environment", **headers: str,
    ) -> Any:  # fmt: skip
        self.player.outcomes = [outcome]
        given = [
            ("host", "127.0.0.1:2772"), ("authorization", f"Bearer {key}"),
            *((name.replace("_", "-"), value) for name, value in headers.items()),
        ]  # fmt: skip
        body = asked if isinstance(asked, bytes) else json.dumps(asked or ASKED).encode()
        return self.endpoints.serve(Request(method, target, given, keep_alive=True), body)

    def record(self, reply: Any) -> Any:
        return self.gateway.record(dict(reply.headers)["lambdallm-call-id"])


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_an_answer_goes_back_as_it_came_and_is_paid_for_by_the_unit_that_is_open(
    desk: Desk,
) -> None:
    work = desk.begin()
    headers = [("content-type", "application/json"), ("x-request-id", "r1"), ("connection", "x-b"),
               ("x-b", "1"), ("content-length", "9")]  # fmt: skip
    reply = desk.serve(PlayedReply(ANSWERED, headers=headers), openai_beta="v2")

    assert (reply.status, reply.body, reply.pieces) == (200, ANSWERED, None)
    assert reply.headers[:2] == headers[:2]
    assert [name for name, _ in reply.headers[2:]] == ["lambdallm-call-id"]
    (sent,) = desk.player.requests
    assert (sent.method, sent.path, sent.query, sent.key) == ("POST", "/chat/completions", "", ())
    assert sent.headers == [("openai-beta", "v2"), ("accept-encoding", "identity")]
    assert sent.body == json.dumps(ASKED).encode()
    assert desk.services == ["openai"]
    assert (work.totals.calls, work.totals.cost_pico_usd) == (1, 100)
    record = desk.record(reply)
    assert (record["model"], record["work"], record["state"]) == ("openai/gpt", "w", "settled")
    assert work.wait_called(0)


def test_a_stream_counts_as_under_way_until_it_is_closed(desk: Desk) -> None:
    work = desk.begin()
    reply = desk.serve(PlayedReply(*STREAMED), asked={**ASKED, "stream": True})
    assert not work.wait_called(0)
    received = b""
    while piece := reply.pieces.read():
        received += piece
    assert not work.wait_called(0)
    reply.pieces.close()
    reply.pieces.close()

    assert received == STREAMED[0] + STREAMED[2], "what nobody asked for is taken out"
    assert work.wait_called(0)
    assert desk.record(reply)["output_tokens"] == 9
    assert json.loads(desk.player.requests[0].body)["stream_options"] == {"include_usage": True}


def test_a_stream_whose_reader_goes_is_released_and_booked(desk: Desk) -> None:
    work = desk.begin()
    reply = desk.serve(PlayedReply(*STREAMED), asked={**ASKED, "stream": True})
    reply.pieces.read()
    reply.pieces.close()

    assert work.wait_called(0)
    assert (work.totals.calls, desk.record(reply).get("error")) == (1, None)


def test_a_call_that_is_nobodys_is_reported_when_it_ends(desk: Desk) -> None:
    desk.invocations.invoked("r1", desk.gateway.deadline_ms())
    whole = desk.serve(PlayedReply(ANSWERED))
    assert [report.outcome for report in desk.reports] == ["unattributed"]

    streamed = desk.serve(PlayedReply(*STREAMED), asked={**ASKED, "stream": True})
    assert len(desk.reports) == 1
    streamed.pieces.close()
    assert [(report.request_id, report.calls) for report in desk.reports] == [("r1", 1)] * 2
    assert desk.record(whole)["work"] == ""


def test_a_call_that_comes_late_is_reported_beside_its_unit(desk: Desk) -> None:
    desk.begin()
    reply = desk.serve(PlayedReply(*STREAMED), asked={**ASKED, "stream": True})
    desk.invocations.end({"work_id": "w", "outcome": "ok"}, 1)
    reply.pieces.close()

    assert [(report.outcome, report.calls) for report in desk.reports] == [("ok", 0), ("late", 1)]


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (refused(0, sent=False), 503, "true"),
        (lost(), 424, "false"),
        (errors.DeadlineError("No time."), 408, "false"),
        (errors.SettingError("No key."), 403, "false"),
        (ZeroDivisionError("by zero"), 424, "false"),
    ],
)
def test_what_does_not_come_through_is_told_in_the_apis_words_and_released(
    desk: Desk, error: Exception, status: int, retry: str
) -> None:
    work = desk.begin()
    reply = desk.serve(error, asked={**ASKED, "stream": True})

    assert reply.status == status
    assert dict(reply.headers)["x-should-retry"] == retry
    assert json.loads(reply.body)["error"]["message"].startswith("lambdallm: ")
    assert work.wait_called(0)
    assert bool(desk.logged) is isinstance(error, ZeroDivisionError)


def test_the_apis_own_refusal_goes_back_as_it_came(desk: Desk) -> None:
    body = b'{"error": {"code": "rate_limit_exceeded", "message": "slow", "type": "requests"}}'
    headers = [("retry-after-ms", "30"), ("x-ratelimit-reset-tokens", "6ms")]
    reply = desk.serve(PlayedReply(body, status=429, headers=headers))

    assert (reply.status, reply.body, reply.headers[:2]) == (429, body, headers)
    assert desk.record(reply)["state"] == "failed"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_any_other_path_of_a_service_goes_through_unread(desk: Desk, method: str) -> None:
    body = bytes(range(256))
    reply = desk.serve(
        PlayedReply(b"\x00", b"\xff", headers=[("content-encoding", "gzip")]),
        "/openai/v1/files/a%2Fb?purpose=x&purpose=%20", body, method, accept_encoding="gzip",
    )  # fmt: skip
    received = reply.pieces.read() + reply.pieces.read()
    reply.pieces.close()

    (sent,) = desk.player.requests
    assert (sent.method, sent.path, sent.query) == (method, "/files/a%2Fb", "purpose=x&purpose=%20")
    assert (sent.body, sent.headers) == (body, [("accept-encoding", "gzip")])
    assert (received, reply.headers[0]) == (b"\x00\xff", ("content-encoding", "gzip"))
    assert desk.record(reply)["state"] == "unmetered"
    assert desk.reports == [], "nothing is known of what it used"


def test_a_key_of_the_clients_own_goes_on(desk: Desk) -> None:
    desk.serve(PlayedReply(ANSWERED), key="sk-own", lambdallm_token="the-token")

    (sent,) = desk.player.requests
    assert sent.key == (("authorization", "Bearer sk-own"),)
    assert sent.headers == [("accept-encoding", "identity")]


def test_nothing_is_sent_for_somebody_who_shows_no_secret(desk: Desk) -> None:
    reply = desk.serve(PlayedReply(ANSWERED), key="sk-wrong")

    assert reply.status == 401
    assert json.loads(reply.body)["error"]["code"] == "invalid_api_key"
    assert desk.player.requests == []


@pytest.mark.parametrize("target", ["/", "/openai", "/nothing?x=1", "/openai/v2/models"])
def test_a_path_of_no_service_is_not_there(desk: Desk, target: str) -> None:
    reply = desk.serve(PlayedReply(), target)

    assert reply.status == 404
    assert json.loads(reply.body)["code"] == "not_found"
    assert desk.player.requests == []
