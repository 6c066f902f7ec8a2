"""The routes for whoever pays. Loaded when the first of them is asked."""

from __future__ import annotations

from lambdallm_extension import errors
from lambdallm_extension.budget_settings import (
    LIMIT_MAX_PICO_USD,
    LIMIT_MAX_USD,
    REACTIONS,
    SCOPES,
    WINDOWS,
)
from lambdallm_extension.domain.budget_windows import window_at
from lambdallm_extension.server import checks
from lambdallm_wire import routes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from lambdallm_extension.services.accounting import Accounting
    from lambdallm_wire.codec import Message

ACTIONS = ("set", "raise", "stop", "go")

NAME_MAX, ID_MAX = 64, 512
"""Letters; a principal has up to 512 bytes."""

DAYS_MAX = 400
"""In one request: as long as spending is kept."""

_DAY_LENGTH = len("2026-11-21")


def answer(route: routes.Route, message: Message, accounting: Accounting) -> Any:
    """Answer one request.

    Raises:
        InvalidRequestError, SettingError, StoreError: As the use case.
    """
    if message.get("deadline_epoch_ms") is not None:
        checks.require(message, deadline_epoch_ms=int)
    deadline_ms = message.get("deadline_epoch_ms")
    if route is routes.LIST_BUDGETS:
        name, cursor = _text(message, "name"), _text(message, "cursor")
        return accounting.listed(name, cursor, deadline_ms)
    if route is routes.READ_SPENDING:
        first, last = _day(message, "first_day"), _day(message, "last_day")
        return accounting.spending(first, last, deadline_ms)
    _check_change(message)
    return accounting.change(message)  # type: ignore[arg-type]  # checked


def _check_change(message: Message) -> None:
    action = _choice(message, "action", ACTIONS)
    name, scope = _text(message, "name"), _text(message, "scope")
    if name:
        _check_name(name)
    if "scope" in message:
        _check_scope(scope)
    scope_id = _text(message, "id")
    if "id" in message and not 0 < len(scope_id) <= ID_MAX:
        reason = f"An id has 1 to {ID_MAX} letters."
        raise errors.InvalidRequestError(reason)
    if scope == "model" and scope_id and "/" not in scope_id.partition(":")[0]:
        reason = f"A model is called as it is asked: provider/model, not {scope_id!r:.80}."
        raise errors.InvalidRequestError(reason)
    if action in ("stop", "go"):
        _check_switch(name, scope, has_id="id" in message)
    else:
        _check_values(message, name, has_limit=action == "raise" or "limit_pico_usd" in message)


def _check_switch(name: str, scope: str, *, has_id: bool) -> None:
    if bool(name) == bool(scope):
        reason = "Say what: the name of a budget, or a scope with its id."
        raise errors.InvalidRequestError(reason)
    if not name and (scope == "organisation") == has_id:
        reason = "The organisation has no id." if has_id else f"Say the id of the {scope}."
        raise errors.InvalidRequestError(reason)


def _check_values(message: Message, name: str, *, has_limit: bool) -> None:
    if not name:
        raise errors.InvalidRequestError("The name of the budget is missing.")
    limit = message.get("limit_pico_usd")
    if has_limit and not (type(limit) is int and 0 <= limit <= LIMIT_MAX_PICO_USD):
        reason = f"A limit is a number of USD from 0 to {LIMIT_MAX_USD:,}."
        raise errors.InvalidRequestError(reason)
    for field, choices in (("window", WINDOWS), ("on_exceeded", REACTIONS)):
        if field in message:
            _choice(message, field, choices)
    if "time_zone" in message:
        try:
            window_at("day", 0, _text(message, "time_zone"))
        except ValueError as error:
            raise errors.InvalidRequestError(str(error)) from None


def _check_name(name: str) -> None:
    if not _is_name(name):
        reason = f"A budget is called by letters, digits, '-' and '_', not {name!r:.80}."
        raise errors.InvalidRequestError(reason)


def _check_scope(scope: str) -> None:
    kind, colon, tag = scope.partition(":")
    known = kind in SCOPES and bool(colon) == (kind == "tag")
    if not known or (colon and not _is_name(tag)):
        reason = f"A scope is one of {', '.join(SCOPES)}:NAME, not {scope!r:.80}."
        raise errors.InvalidRequestError(reason)


def _choice(message: Message, field: str, choices: Collection[str]) -> str:
    said = _text(message, field)
    if said not in choices:
        reason = f"The {field} is one of {', '.join(choices)}, not {said!r:.80}."
        raise errors.InvalidRequestError(reason)
    return said


def _text(message: Message, field: str) -> str:
    said = message.get(field, "")
    if not isinstance(said, str):
        reason = f"The field {field!r} is a text."
        raise errors.InvalidRequestError(reason)
    return said


def _day(message: Message, field: str) -> str:
    day = _text(message, field)
    if len(day) != _DAY_LENGTH or not day.replace("-", "").isdecimal():
        reason = f"The field {field!r} is a day, such as 2026-11-21, not {day!r:.40}."
        raise errors.InvalidRequestError(reason)
    return day


def _is_name(name: str) -> bool:
    word = name.replace("-", "").replace("_", "")
    return 0 < len(name) <= NAME_MAX and word.isascii() and word.isalnum()
