"""What one run has done and what it has cost, over all of its attempts. No I/O."""

from __future__ import annotations

from threading import Lock

from lambdallm_extension.domain import keys
from lambdallm_extension.services import run_items
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from lambdallm_extension.ports import Item
    from lambdallm_extension.services.run_items import Generation
    from lambdallm_wire.runs import FinishedStep, RunCosts, StoredCall, Wait

    Place = tuple[str, int, int]

INTENT, PARTIAL, ANSWERED, FAILED = "intent", "partial", "answered", "failed"
"""States of a generation. Of the first two nobody knows what it cost once its sidecar is gone."""


class RunBooks:
    """The finished steps and the generations of one run. Threads share it."""

    def __init__(self, items: Iterable[Item]) -> None:
        """Read what the store holds.

        Raises:
            StoreRefusedError: An item is newer than this reader, or damaged.
        """
        self._lock = Lock()
        self.steps: dict[str, FinishedStep] = {}
        self.waits: list[Wait] = []
        self.input = self.output = "null"
        self._generations: dict[Place, Generation] = {}
        for item in items:
            self._read(item)
        self._used: set[Place] = set()

    def _read(self, item: Item) -> None:
        sk = item.key.sk
        if sk.startswith(keys.STEP_PREFIX):
            step = run_items.read_step(item)
            self.steps[step["key"]] = step
        elif sk.startswith(keys.GENERATION_PREFIX):
            generation = run_items.Generation.of(item)
            self._generations[keys.parse_generation_sk(sk)] = generation
        elif sk.startswith(keys.WAIT_PREFIX):
            self.waits.append(run_items.read_wait(item))
        elif sk == keys.INPUT:
            self.input = run_items.read_value(item)
        elif sk == keys.OUTPUT:
            self.output = run_items.read_value(item)

    def finish(self, steps: Iterable[FinishedStep]) -> None:
        """Take note of steps that are stored."""
        with self._lock:
            self.steps.update({step["key"]: step for step in steps})

    def keep(self, place: Place, generation: Generation) -> None:
        """Take note of a generation, as it stands now."""
        with self._lock:
            self._generations[place] = generation

    def cut(self, call_id: str, text: str) -> None:
        """Take note of how far the answer to a call has come, which was not whole yet."""
        with self._lock:
            for place, each in self._generations.items():
                if each.call_id == call_id and each.state in (INTENT, PARTIAL) and text:
                    answer = plain_json.dumps({"text": text})
                    self._generations[place] = each._replace(state=PARTIAL, answer=answer)

    def rename(self, renamed: Mapping[str, str]) -> list[tuple[str, FinishedStep | None]]:
        """Call steps otherwise from now on, "" for not at all; return each with its old key."""
        moved: list[tuple[str, FinishedStep | None]] = []
        with self._lock:
            for key, step in [*self.steps.items()]:
                root, slash, rest = key.partition("/")
                if root not in renamed:
                    continue
                del self.steps[key]
                name = renamed[root]
                moved.append((key, {**step, "key": name + slash + rest} if name else None))
        return moved

    def take_answer(self, step: str, asked: str) -> Generation | None:
        """Return an answer to this very question that an earlier attempt has paid for, once."""
        return self._take(step, asked, ANSWERED)

    def take_partial(self, step: str, asked: str) -> Generation | None:
        """Return the beginning of an answer to this very question, once."""
        return self._take(step, asked, PARTIAL)

    def _take(self, step: str, asked: str, state: str) -> Generation | None:
        with self._lock:
            for place, generation in sorted(self._generations.items(), reverse=True):
                if (
                    place[0] == step
                    and generation.state == state
                    and generation.asked == asked
                    and generation.answer
                    and place not in self._used
                ):
                    self._used.add(place)
                    return generation
        return None

    def unstored(self, attempt: int) -> list[tuple[Place, Generation]]:
        """Return this attempt's generations that no finished step tells of."""
        with self._lock:
            told = self._told()
            return [
                (place, generation)
                for place, generation in self._generations.items()
                if place[1] == attempt and generation.call_id not in told
            ]

    def spent_pico_usd(self) -> int:
        """Return what it has cost, with the most that the unknown calls can have."""
        return self.costs()["cost_pico_usd"]

    def costs(self) -> RunCosts:
        """Return what it has come to; of a call that nobody knows of, the most it can have cost."""
        with self._lock:
            told = self._told()
            lost = [each for each in self._generations.values() if each.call_id not in told]
            lost_pico_usd = sum([_cost(each) for each in lost])
            steps_pico_usd = sum([step.get("cost_pico_usd", 0) for step in self.steps.values()])
            unknown = [each for each in lost if each.state in (INTENT, PARTIAL)]
            return {
                "cost_pico_usd": steps_pico_usd + lost_pico_usd,
                "lost_pico_usd": lost_pico_usd,
                "unknown_calls": len([each for each in unknown if each.cost_pico_usd is None]),
                "regenerated": self._regenerated(),
            }

    def calls(self) -> list[StoredCall]:
        """Return all generations, for people: a finished step tells how its own have ended."""
        told = self._told()
        return [
            _stored(place, each, answered=each.call_id in told)
            for place, each in sorted(self._generations.items())
        ]

    def _told(self) -> set[str]:
        return {call for step in self.steps.values() for call in step.get("calls", ())}

    def _regenerated(self) -> int:
        """Count attempts that asked again what an earlier one had asked."""
        attempts: dict[str, set[int]] = {}
        for (step, attempt, _), each in self._generations.items():
            if each.state != FAILED:
                attempts.setdefault(step, set()).add(attempt)
        return sum([len(found) - 1 for found in attempts.values()])


def answer_of(generation: Generation) -> dict[str, Any]:
    """Return what came of a generation: a `ChatResponse`, or `{"text": …}` of one that was cut."""
    found: dict[str, Any] = plain_json.loads(generation.answer)
    return found


def _cost(generation: Generation) -> int:
    if generation.cost_pico_usd is not None:
        return generation.cost_pico_usd
    return 0 if generation.state == FAILED else generation.reserved_pico_usd


def _stored(place: Place, generation: Generation, *, answered: bool) -> StoredCall:
    step, attempt, number = place
    call: StoredCall = {
        "call_id": generation.call_id,
        "step": step,
        "number": number,
        "attempt": attempt,
        "model": generation.model,
        "state": ANSWERED if answered else generation.state,
        "reserved_pico_usd": generation.reserved_pico_usd,
        "characters": len(generation.answer),
    }
    if generation.cost_pico_usd is not None:
        call["cost_pico_usd"] = generation.cost_pico_usd
    return call
