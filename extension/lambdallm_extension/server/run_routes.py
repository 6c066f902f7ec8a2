"""The routes of runs: for chains, and for whoever looks after them. Loaded at the first of them."""

from __future__ import annotations

from lambdallm_extension import errors
from lambdallm_extension.server import checks
from lambdallm_extension.services import run_chat
from lambdallm_wire import routes, runs as wire_runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lambdallm_extension.server.use_cases import Models
    from lambdallm_extension.services.invocations import Invocations
    from lambdallm_extension.services.run_archive import RunArchive
    from lambdallm_extension.services.runs import Runs
    from lambdallm_extension.services.works import Work
    from lambdallm_wire.codec import Message

ALLOWED_MS = 30_000
"""For who looks after runs."""

CLOSING = ("waiting", "interrupted", "failed", "completed")


def answer(route: routes.Route, message: Message, invocations: Invocations, runs: Runs) -> Any:
    """Answer one request.

    Raises:
        InvalidRequestError, SettingError, StoreError: As the use case.
    """
    if route in _FOR_PEOPLE:
        return _looked_after(route, message, runs.archive(ALLOWED_MS))
    check_run_id(message)
    checks.require(message, work_id=str)
    work = invocations.find(message["work_id"])
    if route is routes.OPEN_RUN:
        check_opening(message)
        return runs.open(message, work)  # type: ignore[arg-type]  # checked
    run, finished = runs.find(work, message["run_id"]), message.get("finished", [])
    check_finished(finished)
    waits = message.get("waits", [])
    check_waits(waits)
    if route is routes.STORE_STEPS:
        return run.store_steps(finished, waits)
    status: Any = message.get("status")
    if status not in CLOSING:
        reason = f"A run ends as one of {', '.join(CLOSING)}, not as {status!r}."
        raise errors.InvalidRequestError(reason)
    return run.close(
        status,
        finished,
        output=message.get("output"),
        error=str(message.get("error") or ""),
        waits=waits,
    )


_FOR_PEOPLE = (
    routes.LIST_RUNS,
    routes.READ_RUN,
    routes.STOP_RUN,
    routes.DELETE_RUN,
    routes.FINISH_STEP,
)
"""These need no unit of work."""


def _looked_after(route: routes.Route, message: Message, archive: RunArchive) -> Any:
    if route is routes.LIST_RUNS:
        return archive.page(str(message.get("cursor") or ""))
    check_run_id(message)
    run_id, owner = message["run_id"], message.get("owner") or ""
    if route is routes.READ_RUN:
        return archive.read(run_id, owner, texts=message.get("without_texts") is not True)
    if route is routes.STOP_RUN:
        reason = str(message.get("reason") or "by `lambdallm runs stop`")
        return archive.stop(run_id, owner, reason)
    if route is routes.DELETE_RUN:
        return archive.delete(run_id, owner)
    checks.require(message, step=str, output=str)
    return archive.finish(message)  # type: ignore[arg-type]  # checked


def ask(message: Any, work: Work, models: Models, deadline_ms: int) -> Any:
    """Answer a run's question; see `run_chat.ask`."""
    check_run(message)
    run = models.runs().call(message, work)
    return run_chat.ask(models.chat(), run, message, work.totals, deadline_ms=deadline_ms)


def stream(message: Any, work: Work, models: Models, deadline_ms: int) -> Any:
    """Answer a run's question in pieces; see `run_chat.stream`."""
    check_run(message)
    run = models.runs().call(message, work)
    return run_chat.stream(models.chat(), run, message, work.totals, deadline_ms=deadline_ms)


def check_run_id(message: Message) -> None:
    """Refuse what names no run."""
    checks.require(message, run_id=str)
    if not _is_name(message["run_id"], wire_runs.RUN_ID_MAX):
        reason = f"A run id has 1 to {wire_runs.RUN_ID_MAX} printable ASCII characters without '#'."
        raise errors.InvalidRequestError(reason)
    if message.get("owner"):
        checks.check_principal({"principal": message["owner"]})


def check_opening(message: Message) -> None:
    """Refuse what opens no run."""
    checks.require(message, name=str)
    for field, kind in (
        ("version", str),
        ("input", str),
        ("claim", str),
        ("declared", list),
        ("migrations", dict),
        ("max_cost_pico_usd", int | None),
        ("attempts_max", int),
        ("ttl_seconds", int),
        ("event", str),
        ("resume", dict),
    ):
        if field in message and not isinstance(message[field], kind):
            reason = f"The field {field!r} cannot be a {type(message[field]).__name__}."
            raise errors.InvalidRequestError(reason)
    for field in ("ttl_seconds", "attempts_max"):
        if message.get(field, 1) <= 0:
            reason = f"The field {field!r} must be more than 0."
            raise errors.InvalidRequestError(reason)
    if "resume" in message:
        _check_resume(message["resume"])
    _check_declared(message.get("declared", []))
    for version, renamed in message.get("migrations", {}).items():
        _check_renamed(version, renamed)


def _check_resume(said: Message) -> None:
    checks.require(said, via=str, target=str, event=str)
    needed = {"self": "", "sqs": "queue_url", "schedule": "role_arn"}.get(said["via"])
    if needed is None:
        reason = f"A run is gone on with by self, sqs or schedule, not by {said['via']!r}."
        raise errors.InvalidRequestError(reason)
    if needed:
        checks.require(said, **{needed: str})


def _check_declared(declared: list[Any]) -> None:
    if len(declared) > wire_runs.STEPS_MAX:
        reason = f"A chain declares at most {wire_runs.STEPS_MAX:,} steps."
        raise errors.InvalidRequestError(reason)
    for step in declared:
        if not isinstance(step, dict):
            reason = "A declared step is an object."
            raise errors.InvalidRequestError(reason)
        checks.require(step, key=str, fingerprint=str)
        _check_key(step["key"])
    size = sum([len(step["key"]) + len(step["fingerprint"]) for step in declared])
    if size > wire_runs.DECLARED_MAX_BYTES:
        reason = f"What a chain declares has at most {wire_runs.DECLARED_MAX_BYTES:,} bytes."
        raise errors.InvalidRequestError(reason)


def _check_renamed(version: str, renamed: Any) -> None:
    if not isinstance(renamed, dict) or not all(isinstance(name, str) for name in renamed.values()):
        reason = f"What became of the steps of version {version!r} is an object of names."
        raise errors.InvalidRequestError(reason)
    names = [name for name in renamed.values() if name]
    for name in names:
        _check_key(name)
    if len({*names}) < len(names):
        reason = f"Two steps of version {version!r} cannot become one."
        raise errors.InvalidRequestError(reason)


def check_run(message: Message) -> None:
    """Refuse a question of a run that does not say whose it is."""
    said = message["run"]
    if not isinstance(said, dict):
        reason = "The field 'run' must be an object."
        raise errors.InvalidRequestError(reason)
    checks.require(said, run_id=str, step=str)
    _check_key(said["step"])
    number = said.get("number", 0)
    if type(number) is not int or number < 0:
        reason = "The field 'number' of a run's call must be a whole number, from 0 on."
        raise errors.InvalidRequestError(reason)
    check_finished(said.get("finished", []))


def check_finished(finished: Any) -> None:
    """Refuse steps that could not be read again."""
    if not isinstance(finished, list) or not all(isinstance(step, dict) for step in finished):
        reason = "The field 'finished' must be a list of steps."
        raise errors.InvalidRequestError(reason)
    for step in finished:
        checks.require(step, key=str, output=str)
        _check_key(step["key"])
        _check_facts(step)


def _check_facts(step: Message) -> None:
    calls, usage = step.get("calls", []), step.get("usage", {})
    whole = [step.get("cost_pico_usd", 0), step.get("latency_ms", 0)]
    if (
        isinstance(calls, list)
        and all(isinstance(call, str) for call in calls)
        and isinstance(usage, dict)
        and all(type(number) is int for number in (*whole, *usage.values()))
        and all(isinstance(step.get(name, ""), str) for name in ("fingerprint", "model"))
    ):
        return
    reason = f"What step {step['key']!r} has come to is not told as `FinishedStep` tells it."
    raise errors.InvalidRequestError(reason)


def check_waits(waits: Any) -> None:
    """Refuse what could not be waited for."""
    if not isinstance(waits, list) or not all(isinstance(wait, dict) for wait in waits):
        reason = "The field 'waits' must be a list of objects."
        raise errors.InvalidRequestError(reason)
    for wait in waits:
        checks.require(wait, step=str, secret=str)
        _check_key(wait["step"])


def _check_key(key: str) -> None:
    if not _is_name(key, wire_runs.STEP_KEY_MAX):
        reason = (
            f"A step's key has 1 to {wire_runs.STEP_KEY_MAX} printable ASCII characters without "
            f"'#', not {key!r:.80}."
        )
        raise errors.InvalidRequestError(reason)


def _is_name(text: str, longest: int) -> bool:
    return text.isascii() and text.isprintable() and "#" not in text and 0 < len(text) <= longest
