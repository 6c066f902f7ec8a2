"""What parts of a chain have come to, as another engine carries it from task to task.

    of a step, a wait   {"value": …}, or {"kept": key} where it is too large to be carried
    of what has others  {"scopes": [{"steps": {field: outcome}}, …]}
                        Parallel: of each branch; Map: of each item; a chain: one
    of Loop             {"scopes": [{"last": outcome}]}
    of any              {"skipped": true}, where its condition did not hold

A state machine has the answer of a task under `task`: `{"task": {"value": …}}`. Each may have a
`cost`, in pico-USD (1e-12 USD), and how many `unknown` calls it has made. A field is a part's name
in letters, digits and `_`: the paths of a state machine take nothing else.
"""

from __future__ import annotations

from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from lambdallm._chain import Chain
    from lambdallm._chain_parts import Loop, Map, Parallel, Part

    Read = Callable[[str], Any]
    Outcome = dict[str, Any]


def field(name: str) -> str:
    """Return a part's name as a field."""
    plain = name.replace("-", "_")
    return f"_{plain}" if plain[0].isdigit() else plain


def of_output(output: str, *, key: str, room_bytes: int) -> Outcome:
    """Carry an output, or say where it lies.

    Args:
        output: JSON.
        key: Of the step that has it.
        room_bytes: It is carried if it takes no more; text is counted as it is escaped.
    """
    value = plain_json.loads(output)
    if len(plain_json.dumps(value, ensure_ascii=True)) > room_bytes:
        return {"kept": key}
    return {"value": value}


def output_of(part: Part, outcome: Mapping[str, Any], read: Read) -> Any:
    """Return a part's output.

    Args:
        part: The part.
        outcome: Its own.
        read: Returns the output of a step by its key, where that is not carried.
    """
    outcome = outcome.get("task", outcome)
    if outcome.get("skipped"):
        return None
    of_kind = _READERS.get(part.kind)
    if of_kind is None:
        return read(outcome["kept"]) if "kept" in outcome else outcome["value"]
    return of_kind(part, outcome, read)


def last_output(chain: Chain, steps: Mapping[str, Any], read: Read) -> Any:
    """Return the output of the last step that was not left out."""
    for part in reversed(chain.steps):
        outcome = steps.get(field(part.name))
        if outcome is not None and not outcome.get("task", outcome).get("skipped"):
            return output_of(part, outcome, read)
    return None


def total(outcome: Any, name: str) -> int:
    """Add up a number of an outcome and of all within it: `cost`, or `unknown`."""
    return sum([found.get(name, 0) for found in _within(outcome)])


def _within(outcome: Any) -> Iterator[Mapping[str, Any]]:
    """Return an outcome and those that it is made of; what steps have returned is none."""
    if isinstance(outcome, list):
        for each in outcome:
            yield from _within(each)
    elif isinstance(outcome, dict):
        yield outcome
        yield from _within(outcome.get("task"))
        yield from _within(outcome.get("scopes"))
        yield from _within(outcome.get("last"))
        yield from _within([*(outcome.get("steps") or {}).values()])


def _of_parallel(part: Parallel, outcome: Mapping[str, Any], read: Read) -> Any:
    done = zip(part.branches, outcome["scopes"], strict=True)
    return {
        branch.name: output_of(branch, scope["steps"][field(branch.name)], read)
        for branch, scope in done
    }


def _of_map(part: Map, outcome: Mapping[str, Any], read: Read) -> Any:
    name = field(part.step.name)
    return [output_of(part.step, scope["steps"][name], read) for scope in outcome["scopes"]]


def _of_loop(part: Loop, outcome: Mapping[str, Any], read: Read) -> Any:
    return output_of(part.step, outcome["scopes"][0]["last"], read)


def _of_chain(part: Chain, outcome: Mapping[str, Any], read: Read) -> Any:
    return last_output(part, outcome["scopes"][0]["steps"], read)


_READERS: dict[str, Callable[[Any, Mapping[str, Any], Read], Any]] = {
    "parallel": _of_parallel,
    "map": _of_map,
    "loop": _of_loop,
    "chain": _of_chain,
}
"""Kinds of parts to how their outputs are put together; all others are steps."""
