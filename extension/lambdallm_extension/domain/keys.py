"""How stored items are addressed: one table, partition key `pk`, sort key `sk`.

    SESSION#<session id>   HEAD                    one per session; SESSION#<owner>#<session id>
                                                   where it belongs to somebody
    SESSION#<session id>   EXCHANGE#<identity>     one per event that spoke in it
    SESSION#<session id>   TURN#000017#0           exchange 17, its first turn
    SESSION#<session id>   DIGEST                  its summary, where its memory is one
    SESSION#<session id>   VECTOR#000017           of exchange 17, where its memory is semantic
    CALL#<call id>         CALL                    one per model call
    RUN#<run id>           HEAD, INPUT, OUTPUT, EVENT  one run of a chain; RUN#<owner>#<run id>
                                                   where it belongs to somebody
    RUN#<run id>           STEP#<step>             finished, once
    RUN#<run id>           CALL#<step>#<attempt>.<n>  a generation, from its intent on
    RUN#<run id>           WAIT#<step>             what is finished from outside
    RUN#<run id>           DROPPED#<step>          left out by a later version of its chain
    BUDGETS                RULE#<name>, STOP#…     what was changed of the configured budgets
    BUDGET#<name>#<id>#<window>  HEAD, LEASE#<environment>.<n>   what may be spent, who leases it
    SPEND#<day>            <environment>           what one environment has spent, for reports
    GROUP#<group>          CONNECTION#<id>         a client of a WebSocket API who is in it
    CONNECTION#<id>        GROUP#<group>           the same, for who leaves

Sort keys order as their numbers do: an exchange has six digits, and a turn's index of two or
three digits carries a letter in front that sorts behind every single digit.
"""

from __future__ import annotations

EXCHANGE_MAX = 999_999
"""Six digits in the sort key; a session that reaches it has to be closed."""

TURNS_PER_EXCHANGE_MAX = 1_000
"""Indexes of up to three digits; one event that says more belongs into a chain."""

EXCHANGE_PREFIX = "EXCHANGE#"
TURN_PREFIX = "TURN#"
VECTOR_PREFIX = "VECTOR#"
BUDGETS = "BUDGETS"
BUDGET_PREFIX = "BUDGET#"
RULE_PREFIX = "RULE#"
STOP_PREFIX = "STOP#"
SPEND_PREFIX = "SPEND#"
LEASE_PREFIX = "LEASE#"
GROUP_PREFIX = "GROUP#"
CONNECTION_PREFIX = "CONNECTION#"
HEAD = "HEAD"
DIGEST = "DIGEST"
CALL = "CALL"
RUN_PREFIX = "RUN#"
STEP_PREFIX = "STEP#"
GENERATION_PREFIX = "CALL#"
WAIT_PREFIX = "WAIT#"
DROPPED_PREFIX = "DROPPED#"
INPUT = "INPUT"
OUTPUT = "OUTPUT"
EVENT = "EVENT"


SESSION_PREFIX = "SESSION#"

_IN_OWNERS = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/@|+=,!$&'()*;?"
)
"""Stand in a partition as they are; everything else of an owner is percent-quoted."""


def session_pk(session_id: str, owner: str = "") -> str:
    """Partition of a session. Neither an id nor a quoted owner holds `#`: no two are the same."""
    if not owner:
        return f"{SESSION_PREFIX}{session_id}"
    return f"{SESSION_PREFIX}{quoted(owner)}#{session_id}"


def parse_session_pk(pk: str) -> tuple[str, str]:
    """Return id and owner of a session's partition, the owner "" where it has none."""
    owner, _, session_id = pk.removeprefix(SESSION_PREFIX).rpartition("#")
    return session_id, unquoted(owner)


def quoted(text: str) -> str:
    """Return a text as it stands in a key: without `#`, and no two the same."""
    return "".join([c if c in _IN_OWNERS else _quoted(c) for c in text])


def unquoted(text: str) -> str:
    """Return what `quoted` was given."""
    first, *rest = text.encode().split(b"%")
    plain = first + b"".join([bytes([int(part[:2], 16)]) + part[2:] for part in rest])
    return plain.decode("utf-8", "surrogatepass")


def _quoted(character: str) -> str:
    return "".join([f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass")])


def exchange_sk(identity: str) -> str:
    """Sort key of an exchange, by the identity of its event."""
    return f"{EXCHANGE_PREFIX}{identity}"


def turn_sk(exchange: int, index: int) -> str:
    """Sort key of a turn.

    Raises:
        ValueError: A number is out of range, so that the key would not sort.
    """
    if not (0 <= exchange <= EXCHANGE_MAX and 0 <= index < TURNS_PER_EXCHANGE_MAX):
        message = f"Turn {index} of exchange {exchange} has no key that sorts."
        raise ValueError(message)
    return f"{TURN_PREFIX}{exchange:06d}#{('', 'A', 'B')[len(str(index)) - 1]}{index}"


def vector_sk(exchange: int) -> str:
    """Sort key of an exchange's vector."""
    return f"{VECTOR_PREFIX}{exchange:06d}"


def parse_turn_sk(sk: str) -> tuple[int, int]:
    """Return exchange and index of a turn's sort key."""
    _, exchange, index = sk.split("#")
    return int(exchange), int(index.lstrip("AB"))


def run_pk(run_id: str, owner: str = "") -> str:
    """Partition of a run, as a session's."""
    return f"{RUN_PREFIX}{quoted(owner)}#{run_id}" if owner else f"{RUN_PREFIX}{run_id}"


def parse_run_pk(pk: str) -> tuple[str, str]:
    """Return id and owner of a run's partition, the owner "" where it has none."""
    owner, _, run_id = pk.removeprefix(RUN_PREFIX).rpartition("#")
    return run_id, unquoted(owner)


def step_sk(step: str) -> str:
    """Sort key of a finished step."""
    return f"{STEP_PREFIX}{step}"


def generation_sk(step: str, attempt: int, number: int) -> str:
    """Sort key of one of a step's generations."""
    return f"{GENERATION_PREFIX}{step}#{attempt}.{number}"


def parse_generation_sk(sk: str) -> tuple[str, int, int]:
    """Return step, attempt and number of a generation's sort key."""
    step, _, place = sk.removeprefix(GENERATION_PREFIX).rpartition("#")
    attempt, _, number = place.partition(".")
    return step, int(attempt), int(number)


def wait_sk(step: str) -> str:
    """Sort key of what is waited for."""
    return f"{WAIT_PREFIX}{step}"


def budget_pk(name: str, scope_id: str, window: str) -> str:
    """Partition of a budget's account: one id, one window. No name holds `#`, ids are quoted."""
    return f"{BUDGET_PREFIX}{name}#{quoted(scope_id)}#{window}"


def parse_budget_pk(pk: str) -> tuple[str, str, str]:
    """Return name, id and window of an account's partition."""
    name, scope_id, window = pk.removeprefix(BUDGET_PREFIX).rsplit("#", 2)
    return name, unquoted(scope_id), window


def rule_sk(name: str, scope_id: str = "") -> str:
    """Sort key of what was changed of a budget, or of one id's limit."""
    return f"{RULE_PREFIX}{name}#{quoted(scope_id)}" if scope_id else f"{RULE_PREFIX}{name}"


def stop_sk(scope: str, scope_id: str) -> str:
    """Sort key of what stops all spending of one id."""
    return f"{STOP_PREFIX}{scope}#{quoted(scope_id)}"


def spend_pk(day: str) -> str:
    """Partition of what was spent on one day (UTC, `2026-11-21`)."""
    return f"{SPEND_PREFIX}{day}"


def lease_sk(lease_id: str) -> str:
    """Sort key of a lease in an account: `<environment>.<n>`."""
    return f"{LEASE_PREFIX}{lease_id}"


def warning_sk(percent: int) -> str:
    """Sort key of what says that so much of an account is leased."""
    return f"WARN#{percent}"


def group_key(group: str) -> str:
    """Partition of a group's connections, and sort key of a connection's groups."""
    return f"{GROUP_PREFIX}{quoted(group)}"


def parse_group_key(key: str) -> str:
    """Return the group of such a key."""
    return unquoted(key.removeprefix(GROUP_PREFIX))


def connection_key(connection_id: str) -> str:
    """Partition of a connection's groups, and sort key of a group's connections."""
    return f"{CONNECTION_PREFIX}{connection_id}"


def call_pk(call_id: str) -> str:
    """Partition of a call's record."""
    return f"CALL#{call_id}"
