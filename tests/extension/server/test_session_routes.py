"""What the routes of a session take, merge, cut and refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fakes.asked_engine import Api
from lambdallm_wire import routes

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def api() -> Iterator[Api]:
    opened = Api()
    yield opened
    opened.close()


def turn(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, "metadata": {}, "at_epoch_ms": 1, **more}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"metadata": {"large": "x" * 350_000}}, "takes 350,000 at most"),
        ({"metadata": []}, "'metadata' must be an object"),
        ({"metadata": {}, "metadata_keys": "plan"}, "'metadata_keys' must be a list of names"),
        ({"metadata_keys": ["plan"]}, "beside 'metadata'"),
        ({"metadata": {}, "metadata_defaults": ["plan"]}, "beside 'metadata_keys'"),
        ({"metadata": {}, "metadata_keys": [], "metadata_defaults": [1]}, "'metadata_defaults'"),
        ({"turns": [turn("x" * 4_000_001)], "metadata": {"plan": "free"}}, "cannot be kept"),
        ({"turns": [turn("one"), {"role": "nobody"}], "metadata": {"plan": "free"}}, "at_epoch_ms"),
    ],
)
def test_what_is_refused_is_not_taken_in_part(api: Api, wrong: dict[str, Any], said: str) -> None:
    work = api.begin()
    status, problem = api.ask(
        routes.APPEND, work_id=work, **{"turns": [turn("refused")], "clear": True, **wrong}
    )
    assert (status, problem["code"]) == (400, "invalid_request")
    assert said in problem["detail"]
    taken = [turn("taken"), {**turn("answer"), "role": "assistant"}]
    assert api.ask(routes.APPEND, work_id=work, turns=taken)[0] == 200
    assert api.ask(routes.END, work_id=work)[0] == 200

    window = api.ask(routes.WINDOW, work_id=api.begin())[1]
    assert [each["content"] for each in window["turns"]] == ["taken", "answer"]
    assert window["metadata"] == {}


def test_keys_of_the_metadata_are_merged_with_what_stands_there(api: Api) -> None:
    works = [api.begin(), api.begin()]
    for work, key in zip(works, "ab", strict=True):
        said = [turn(key), {**turn(key), "role": "assistant"}]
        message = {"turns": said, "metadata": {key: 1}, "metadata_keys": [key]}
        assert api.ask(routes.APPEND, work_id=work, **message)[0] == 200
        assert api.ask(routes.END, work_id=work)[0] == 200

    assert api.ask(routes.WINDOW, work_id=api.begin())[1]["metadata"] == {"a": 1, "b": 1}


@pytest.mark.parametrize("strategy", ["sliding_window", "full_history"])
def test_a_window_that_fits_into_no_reply_is_cut_and_says_so(api: Api, strategy: str) -> None:
    large = "x" * 3_990_000
    for number in range(5):
        work = api.begin("huge")
        said = [turn(f"{number}{large}"), {**turn(f"{number}{large}"), "role": "assistant"}]
        assert api.ask(routes.APPEND, work_id=work, turns=said)[0] == 200
        assert api.ask(routes.END, work_id=work)[0] == 200

    work = api.begin("huge", strategy=strategy)
    status, window = api.ask(routes.WINDOW, work_id=work)

    assert status == 200
    assert [each["content"][0] for each in window["turns"]] == ["2", "2", "3", "3", "4", "4"]
    (line,) = [line for line in api.lines if "was cut" in line]
    assert "newest 6 messages" in line
    assert "keep fewer messages" in line
