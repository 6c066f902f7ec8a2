"""Lives of an environment for the tests of its rules."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from lambda_runtime_api.emulator.states import Life, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

BOTH = {"events": ["INVOKE", "SHUTDOWN"]}
INVOKE = {"eventType": "INVOKE"}
SHUTDOWN = {"eventType": "SHUTDOWN"}
STRANGER = "00000000-0000-4000-8000-00000000ffff"


def new_life(*names: str) -> Life:
    numbers = itertools.count(1)
    return Life(names, lambda: f"00000000-0000-4000-8000-{next(numbers):012}")


def ready_life(*names: str, request: object = None) -> Life:
    life = new_life(*names)
    for name in names:
        life.extension_next(life.register(name, request or BOTH).identifier)
    life.runtime_next()
    assert life.initialised
    return life


def identifier(life: Life, name: str = "ext") -> str:
    return next(one.identifier for one in life.extensions if one.name == name)


def refusal(call: Callable[..., object], *args: Any) -> tuple[int, str, str]:
    with pytest.raises(RefusedError) as raised:
        call(*args)
    return raised.value.status, raised.value.error_type, raised.value.message
