"""What is sent to the clients of WebSocket APIs, and who of them belongs together."""

from __future__ import annotations

from typing import TypedDict


class Client(TypedDict, total=False):
    """A connection of a WebSocket API, as the events that it brings tell of it.

    Args:
        connection_id: API Gateway's.
        api_id, domain_name, stage: Of the API; without them LAMBDALLM_CONNECTIONS_ENDPOINT says
            where it is.
        connected_epoch_ms: Since when it is open; without it nobody knows.
    """

    connection_id: str
    api_id: str
    domain_name: str
    stage: str
    connected_epoch_ms: int


class PushRequest(TypedDict):
    """Sends a text to one connection."""

    work_id: str
    client: Client
    data: str


class Pushed(TypedDict):
    """Whether API Gateway has taken it; else the connection is gone."""

    delivered: bool


class JoinGroup(TypedDict):
    """Counts a connection among a group from now on; twice is once."""

    work_id: str
    client: Client
    group: str


class LeaveGroups(TypedDict, total=False):
    """Counts a connection among a group no longer; without one, among none."""

    work_id: str
    client: Client
    group: str


class Groups(TypedDict):
    """The groups that a connection has joined, or has left."""

    groups: list[str]


class PushToGroup(TypedDict):
    """Sends a text to every connection of a group."""

    work_id: str
    group: str
    data: str


class PushedToGroup(TypedDict):
    """How many have got it, and how many were not there any more."""

    delivered: int
    gone: int
