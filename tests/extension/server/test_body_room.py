"""Large bodies wait for room; small ones never do."""

from threading import Thread

import pytest

from lambda_runtime_api.http1 import BODY_MAX_BYTES, ProtocolError, Request
from lambdallm_extension.server import body_room
from lambdallm_extension.server.body_room import SMALL_BYTES, BodyRoom


def request(**headers: str) -> Request:
    given = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Request("POST", "/x", given, keep_alive=True)


LARGE = request(content_length=str(BODY_MAX_BYTES))


def test_one_body_of_any_size_finds_room_and_small_ones_always() -> None:
    room = BodyRoom(0)
    taken = room.take(LARGE)

    assert taken == BODY_MAX_BYTES
    assert room.take(request(content_length=str(SMALL_BYTES))) == 0
    assert room.take(request()) == 0


@pytest.mark.parametrize("second", [LARGE, request(transfer_encoding="chunked")])
def test_the_next_one_waits_until_room_is_given_back(second: Request) -> None:
    room = BodyRoom(0)
    taken, found = room.take(LARGE), []
    waiting = Thread(target=lambda: found.append(room.take(second)))
    waiting.start()
    assert not found
    room.give_back(taken)
    waiting.join(5)

    assert found == [BODY_MAX_BYTES]


def test_who_finds_none_in_time_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_room, "WAIT_SECONDS", 0.01)
    room = BodyRoom(0)
    room.take(LARGE)

    with pytest.raises(ProtocolError, match="give the function more") as caught:
        room.take(LARGE)
    assert caught.value.status == 503
