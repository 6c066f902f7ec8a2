"""Steps of coroutines: done while others run, and kept as those of functions are."""

from __future__ import annotations

from types import CoroutineType

from lambdallm import _async, _runs
from lambdallm._step_scopes import StepScope, here, within
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


async def step(context: Any, name: str, function: Callable[[], Any]) -> Any:
    """Do something once in a run; see `LambdaLLMContext.astep`."""
    parent = here()
    if parent is None:
        place = context.names.place(name)  # before others begin theirs while the run is opened
        run = await _async.in_thread(context.open_run)
        key = run.root.key_of(place)
    else:
        run, key = parent.run, parent.child(name)
    over = run.status == "completed"
    if key in run.steps or not (over or run.status == "running"):
        return _runs.do(run, key, function)  # it is told, or refused: nothing is waited for
    if not over:
        await _async.in_thread(run.flush)
    scope = StepScope(run, key)
    with within(scope):
        value = function()
        if isinstance(value, CoroutineType):
            value = await value
    output = _runs.encode(value, f"Step {key!r}")
    run.finish(scope.to_step(output, ""))
    if not over:  # else as `_runs.step` says
        await _async.in_thread(run.flush)
    return plain_json.loads(output)
