"""Groups of WebSocket clients in every store."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import pytest

from fakes.dice import HighDice
from lambdallm_extension.services.connections import Connections
from lambdallm_extension.services.tasks import Workers
from lambdallm_extension.settings import SystemClock


class Gateway:
    """Takes messages for those who are there."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.got: list[str] = []

    def address_of(self, client: Any) -> str:
        return f"https://{client['api_id']}/prod"

    def post(self, address: str, connection_id: str, data: bytes, *, deadline_ms: int) -> bool:
        self.got.append(f"{address} {connection_id} {data.decode()}")
        return connection_id not in self.gone

    def reopen(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def connections(store: Any, gateway: Gateway) -> Connections:
    class Later(SystemClock):
        """Half a minute ahead once somebody is gone: it is no longer taken for connecting."""

        def epoch_ms(self) -> int:
            return super().epoch_ms() + (31_000 if gateway.gone else 0)

    return Connections(
        gateway, lambda: store, has_store=lambda: True, workers=Workers(), clock=Later(),
        random=HighDice(), sleep=time.sleep,
    )  # fmt: skip


def test_who_joined_hears_until_he_leaves_or_is_gone(
    connections: Connections, gateway: Gateway, deadline_ms: int
) -> None:
    room, hall = f"room {uuid4().hex}", f"hall/ü#{uuid4().hex}"
    names = [f"{name}-{uuid4().hex[:8]}=" for name in ("ada", "bob", "cyd")]
    clients: list[Any] = [{"connection_id": name, "api_id": "api"} for name in names]
    for client in clients:
        connections.join(client, room, deadline_ms=deadline_ms)
    connections.join(clients[0], hall, deadline_ms=deadline_ms)

    def told(group: str) -> Any:
        return connections.push_to_group(group, "hü".encode(), deadline_ms=deadline_ms)

    assert told(room) == {"delivered": 3, "gone": 0}
    assert sorted(gateway.got) == sorted(f"https://api/prod {name} hü" for name in names)
    assert connections.leave(clients[1], deadline_ms=deadline_ms) == [room]
    gateway.gone.add(names[0])
    assert told(room) == {"delivered": 1, "gone": 1}
    assert told(room) == {"delivered": 1, "gone": 0}
    assert told(hall) == {"delivered": 0, "gone": 0}, "he has left this one with the other"
    assert connections.leave(clients[2], room, deadline_ms=deadline_ms) == [room]
    assert told(room) == {"delivered": 0, "gone": 0}
