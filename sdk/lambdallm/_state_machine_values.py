"""What a task of a state machine knows: the place of its part in the chain, and its values.

The path of a part and the scopes of its state go down the chain together:

    ["sections", "draft"]     state of sections' item, whose `up` is that of the chain
"""

from __future__ import annotations

from lambdallm import _chain_templates, _errors, _part_outcomes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from lambdallm._chain import Chain
    from lambdallm._chain_parts import Part


class Place:
    """Where a task stands.

    Attributes:
        part: The part that it does.
        key: The part's key within a run.
        values: What its templates and functions are given.
        each: Which item or round of the innermost scope it is of, None where it is of none.
        steps: The outcomes of the innermost scope.
        items: How many items there are of all maps that it is within, multiplied.
    """

    def __init__(self, part: Part, state: dict[str, Any]) -> None:
        """Stand at the top of a chain."""
        self.part = part
        self.key = ""
        self.values: dict[str, Any] = {"input": "", **state["inputs"]}
        self.each: dict[str, Any] | None = None
        self.steps: dict[str, Any] = {}
        self.items = 1


def find(
    chain: Chain, path: Sequence[str], state: dict[str, Any], read: Callable[[str], Any]
) -> Place:
    """Return the place of a part.

    Args:
        chain: The chain.
        path: The names of the parts that lead to it.
        state: As `_state_machine` describes it.
        read: Returns a step's output by its key, where that is not carried.

    Raises:
        InvalidRequestError: There is no such part.
    """
    parts: list[Part] = [chain]
    for name in path:
        inner = next((each for each in parts[-1].parts() if each.name == name), None)
        if inner is None:
            message = f"Chain {chain.name!r} has no {'/'.join(path)!r}."
            raise _errors.InvalidRequestError(message)
        parts.append(inner)
    frames = _frames(state)
    place = Place(chain, state)
    wanted = _wanted(parts[-1])
    for frame, inner in zip(frames, parts[1:], strict=False):
        _enter(place, frame, wanted, read)
        place.key = f"{place.key}/{inner.name}" if place.key else inner.name
        place.part = inner
    if len(frames) == len(parts):
        _enter(place, frames[-1], wanted, read)
    return place


def items(state: dict[str, Any]) -> int:
    """Return how many items there are of all maps that a state is within, multiplied."""
    product = 1
    for frame in _frames(state):
        product *= max(1, (frame["each"] or {}).get("of", 1))
    return product


def _frames(state: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a state's scopes, the outermost first."""
    frames: list[dict[str, Any]] = []
    frame: Any = state
    while frame is not None:
        frames.append(frame)
        frame = frame["up"]
    return frames[::-1]


def _wanted(part: Any) -> set[str] | None:
    """Return which outputs a part can ask for, None for any: a function gets all of them."""
    if part.kind != "step" or part.prompt is None or part.condition is not None:
        return None
    return _chain_templates.names_in(part.prompt)


def _enter(
    place: Place, frame: dict[str, Any], wanted: set[str] | None, read: Callable[[str], Any]
) -> None:
    """Take what is known within a part's scope."""
    part: Any = place.part
    each = frame["each"]
    if part.kind == "map":
        number = each["number"]
        item = each["item"] if "item" in each else read(f"{place.key}/items")[number]
        place.values |= {"item": item, "index": number}
        place.key = f"{place.key}/{number:04d}"
        place.items *= max(1, each["of"])
    elif part.kind == "loop":
        number, last = each["number"], ""
        if number > 1:
            last = _part_outcomes.output_of(part.step, each["last"], read)
        place.values |= {"last": last, "iteration": number}
        place.key = f"{place.key}/{number:04d}"
    place.each, place.steps = each, frame["outputs"]
    if part.kind == "chain":
        for step in part.steps:
            outcome = frame["outputs"].get(_part_outcomes.field(step.name))
            if outcome is not None and (wanted is None or step.name in wanted):
                output = _part_outcomes.output_of(step, outcome, read)
                place.values[step.name] = place.values[f"{step.name}.output"] = output
