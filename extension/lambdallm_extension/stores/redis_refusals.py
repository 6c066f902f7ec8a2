"""What Redis refuses with, and what that means for us, without I/O.

    Outcome.AGAIN    nothing was done, and later it may be: loading, failing over, full
    Outcome.MOVED    nothing was done, another node of the cluster has the slot
    Outcome.UNKNOWN  nothing was done, the server does not have the script
    Outcome.NEVER    nothing was done, and a retry does not mend it

Our scripts write nothing before the step that can be refused for want of memory, of replicas or of
being the primary, so that an error means that nothing was done.

Source: Redis 7 and Valkey 8, `src/server.c` and `src/script.c`: the errors' first words, 2026-11.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple


class Outcome:
    """What a refusal means for the next step: one of these words."""

    AGAIN = "again"
    MOVED = "moved"
    UNKNOWN = "unknown"
    NEVER = "never"


class Refusal(NamedTuple):
    """An error as Redis sends it.

    Attributes:
        code: Its first word, such as `READONLY`.
        advice: What to do, "" where patience is all.
        moved_to: Host and port of the node that has the slot; a host of "" is the one asked.
        asking: Whether that node is to be asked this once, because the slot is on its way there.
    """

    outcome: str
    code: str
    message: str
    advice: str = ""
    moved_to: tuple[str, int] | None = None
    asking: bool = False


_FULL = (
    "Redis is full (maxmemory): nothing is written until there is room. Give it more, or let "
    "sessions expire sooner."
)
_AGAIN = {
    "BUSY": "A script of somebody else has kept it busy for long.",
    "CLUSTERDOWN": "The cluster has no node for this slot now: a failover, or too few nodes.",
    "LOADING": "It is starting, and reads its file.",
    "MASTERDOWN": "It is a replica whose primary does not answer: name the primary.",
    "MISCONF": "It cannot save its file, and refuses writes: look at its disk, and its log.",
    "NOREPLICAS": "Fewer replicas are connected than min-replicas-to-write asks for.",
    "OOM": _FULL,
    "READONLY": "It is a replica: name the primary, or wait until the failover is over.",
    "TRYAGAIN": "Its slot is moving to another node.",
}
_NEVER = {
    "NOAUTH": "It wants a password: redis://USER:PASSWORD@HOST.",
    "NOPERM": "Its user needs +@read +@write +@scripting +@connection +cluster|slots on ~PREFIX:*.",
    "WRONGPASS": "Mend user and password in LAMBDALLM_STORE; special characters as %40.",
    "WRONGTYPE": "The key is not lambdallm's: choose another prefix (?prefix=…).",
    "CROSSSLOT": "The keys of one partition have one hash tag: is a proxy in between?",
    "NOPROTO": "It is older than Redis 6, which lambdallm needs.",
}

_CODES_OF_CLASSES = {
    "AskError": "ASK",
    "AuthenticationError": "WRONGPASS",
    "BusyLoadingError": "LOADING",
    "ClusterCrossSlotError": "CROSSSLOT",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "MovedError": "MOVED",
    "NoPermissionError": "NOPERM",
    "NoScriptError": "NOSCRIPT",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "TryAgainError": "TRYAGAIN",
}
"""redis-py takes the first word away where it has a class for it; before version 8 for good."""

_ALSO_AGAIN = (
    "max number of clients reached",
    "attempted to access a non local key",  # whose slot is on its way to another node
)


def read_error(error: Exception) -> Refusal:
    """Say what an error reply means, as redis-py raises it."""
    message = str(error)
    code = getattr(error, "status_code", None) or _CODES_OF_CLASSES.get(type(error).__name__, "")
    if not code or code == "ERR":
        code = _code_within(message)
    if code in ("MOVED", "ASK"):
        return Refusal(Outcome.MOVED, code, message, "", _address(message), code == "ASK")
    if code == "NOSCRIPT":
        return Refusal(Outcome.UNKNOWN, code, message)
    if code in _AGAIN or any(words in message for words in _ALSO_AGAIN):
        return Refusal(Outcome.AGAIN, code, message, _AGAIN.get(code, ""))
    return Refusal(Outcome.NEVER, code, message, _NEVER.get(code, ""))


def _code_within(message: str) -> str:
    """Return the first word that is an error's code; before Redis 7 scripts' stand further in."""
    for word in message.replace("-", " ").split():
        if word in _AGAIN or word in _NEVER:
            return word
    return message.partition(" ")[0]


def _address(message: str) -> tuple[str, int]:
    """Take `3999 127.0.0.1:6381` apart, with or without `MOVED` before it."""
    host, _, port = message.rpartition(" ")[2].rpartition(":")
    return host.strip("[]"), int(port)
