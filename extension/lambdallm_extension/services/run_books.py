"""What one run has done and what it has cost, over all of its attempts. No I/O."""

from __future__ import annotations

from threading import Lock

from lambdallm_extension.domain import keys
from lambdallm_extension.services import run_items
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from lambdallm_extension.ports import Item
    from lambdallm_extension.services.run_items import Generation
    from lambdallm_wire.runs import FinishedStep, RunCosts, StoredCall, Wait

    Place = tuple[str, int, int]

INTENT, PARTIAL, ANSWERED, FAILED = "intent", "partial", "answered", "failed"
"""States of a generation. Of the first two nobody knows what it cost once its sidecar is gone."""


class RunBooks:
    """The finished steps and the generations of one run. Threads share it."""

    def __init__(self, items: Iterable[Item], life: str = "") -> None:
        """Read what the store holds.

        Args:
            items: Of the run's partition.
            life: The head's: what another run of this id has left is not read.

        Raises:
            StoreRefusedError: An item is newer than this reader, or damaged.
        """
        self._lock = Lock()
        self.steps: dict[str, FinishedStep] = {}
        self.moved: dict[str, str] = {}
        self.waits: list[Wait] = []
        self.input = self.output = "null"
        self._dropped: list[FinishedStep] = []
        self._generations: dict[Place, Generation] = {}
        self._stored: dict[Place, int] = {}
        for item in items:
            if item.attributes.get("life") == life:
                self._read(item)
        self._told = {call for step in self._paid() for call in step.get("calls", ())}
        self._earlier: dict[str, list[Place]] = {}
        for place in sorted(self._generations):
            self._earlier.setdefault(place[0], []).append(place)
        self._used: set[Place] = set()
        self._made_again: set[Place] = set()

    def _read(self, item: Item) -> None:
        sk = item.key.sk
        if sk.startswith(keys.STEP_PREFIX):
            self._read_step(item)
        elif sk.startswith(keys.GENERATION_PREFIX):
            generation = run_items.Generation.of(item)
            place = keys.parse_generation_sk(sk)
            self._generations[place] = generation
            self._stored[place] = generation.written
        elif sk.startswith(keys.WAIT_PREFIX):
            self.waits.append(run_items.read_wait(item))
        elif sk.startswith(keys.DROPPED_PREFIX):
            self._dropped.append(run_items.read_step(item))
        elif sk == keys.INPUT:
            self.input = run_items.read_value(item)
        elif sk == keys.OUTPUT:
            self.output = run_items.read_value(item)

    def _read_step(self, item: Item) -> None:
        moved = item.attributes.get("moved")
        if item.attributes.get("gone") is not True:
            step = run_items.read_step(item)
            self.steps[step["key"]] = step
            if moved:
                self.moved[step["key"]] = str(moved)

    def _paid(self) -> list[FinishedStep]:
        return [*self.steps.values(), *self._dropped]

    def finish(self, steps: Iterable[FinishedStep]) -> None:
        """Take note of steps that are stored: nobody needs the answers of their calls any more."""
        with self._lock:
            for step in steps:
                self.steps[step["key"]] = step
                self._told.update(step.get("calls", ()))
            for place, each in self._generations.items():
                if each.answer and each.call_id in self._told:
                    self._generations[place] = each._replace(answer="")

    def move(self, steps: Iterable[FinishedStep], version: str, gone: Iterable[str]) -> None:
        """Take note of steps that have other names now, and of names that have none."""
        with self._lock:
            for key in gone:
                self.steps.pop(key, None)
            for step in steps:
                self.steps[step["key"]] = step
                self.moved[step["key"]] = version

    def drop(self, steps: Iterable[FinishedStep]) -> None:
        """Take note of steps that are left out from now on; what they cost stays."""
        with self._lock:
            self._dropped += steps

    def admit(
        self, place: Place, generation: Generation, limit_pico_usd: int | None
    ) -> tuple[Generation, int]:
        """Take note of a generation that is about to be made, if there is money for it.

        Those that are under way at the same moment count with the most that they can cost.

        Returns:
            The generation as it is written, and what was spent before it. It was not taken note
            of where both together are more than the limit.
        """
        with self._lock:
            spent = self._costs()["cost_pico_usd"] if limit_pico_usd is not None else 0
            if limit_pico_usd is None or spent + generation.reserved_pico_usd <= limit_pico_usd:
                if place not in self._generations:
                    generation = generation._replace(again=self._makes_again(place))
                self._generations[place] = generation
        return generation, spent

    def _makes_again(self, place: Place) -> bool:
        """Say whether an earlier attempt had generated for this step, and nobody has used it."""
        for earlier in self._earlier.get(place[0], ()):
            each = self._generations[earlier]
            if (
                each.state != FAILED
                and each.call_id not in self._told
                and earlier not in self._made_again
                and not (earlier in self._used and each.state == ANSWERED)
            ):
                self._made_again.add(earlier)
                return True
        return False

    def withdraw(self, place: Place) -> None:
        """Forget a generation whose intent is known not to be written."""
        with self._lock:
            self._generations.pop(place, None)

    def keep(self, place: Place, generation: Generation) -> Generation:
        """Take note of a generation, as it stands now; return it as it is to be written."""
        with self._lock:
            return self._keep(place, generation)

    def _keep(self, place: Place, generation: Generation) -> Generation:
        before = self._generations.get(place)
        written = 1 + (generation.written if before is None else before.written)
        self._generations[place] = generation = generation._replace(written=written)
        return generation

    def cut(self, call_id: str, text: str) -> None:
        """Take note of how far the answer to a call has come, which was not whole yet."""
        with self._lock:
            for place, each in [*self._generations.items()]:
                if each.call_id == call_id and each.state in (INTENT, PARTIAL) and text:
                    answer = plain_json.dumps_whole({"text": each.before + text})
                    if answer != each.answer:
                        self._keep(place, each._replace(state=PARTIAL, answer=answer))

    def take_answer(self, place: Place, asked: str) -> Generation | None:
        """Return an answer to this very question that an earlier attempt has paid for, once."""
        return self._take(place, asked, ANSWERED)

    def take_partial(self, place: Place, asked: str) -> Generation | None:
        """Return the beginning of an answer to this very question, once."""
        return self._take(place, asked, PARTIAL)

    def _take(self, place: Place, asked: str, state: str) -> Generation | None:
        """Look among earlier attempts alone: who asks twice in one wants two answers.

        The call of the same number comes first, and the latest attempt's of these.
        """
        step, _, number = place
        with self._lock:
            found = [
                earlier
                for earlier in self._earlier.get(step, ())
                if (each := self._generations[earlier]).state == state
                and each.asked == asked
                and each.answer
                and earlier not in self._used
            ]
            if not found:
                return None
            best = min(found, key=lambda each: (each[2] != number, -each[1], each[2]))
            self._used.add(best)
            return self._generations[best]

    def unwritten(self, attempt: int) -> list[tuple[Place, Generation]]:
        """Return this attempt's generations of which the store does not know how they stand.

        Those of finished steps are left out: the step tells what became of them.
        """
        with self._lock:
            return [
                (place, generation)
                for place, generation in self._generations.items()
                if place[1] == attempt
                and generation.written > self._stored.get(place, 0)
                and generation.call_id not in self._told
            ]

    def wrote(self, place: Place, generation: Generation) -> None:
        """Take note that the store knows how a generation stood."""
        with self._lock:
            self._stored[place] = max(generation.written, self._stored.get(place, 0))

    def costs(self) -> RunCosts:
        """Return what it has come to; of a call that nobody knows of, the most it can have cost."""
        with self._lock:
            return self._costs()

    def _costs(self) -> RunCosts:
        made = self._generations.values()
        lost = [each for each in made if each.call_id not in self._told]
        lost_pico_usd = sum([_cost(each) for each in lost])
        lost_pico_usd += sum([step.get("cost_pico_usd", 0) for step in self._dropped])
        steps_pico_usd = sum([step.get("cost_pico_usd", 0) for step in self.steps.values()])
        unknown = [each for each in lost if each.state in (INTENT, PARTIAL)]
        return {
            "cost_pico_usd": steps_pico_usd + lost_pico_usd,
            "lost_pico_usd": lost_pico_usd,
            "unknown_calls": len([each for each in unknown if each.cost_pico_usd is None]),
            "regenerated": len([each for each in made if each.again and each.state != FAILED]),
        }

    def calls(self) -> list[StoredCall]:
        """Return all generations, for people: a finished step tells how its own have ended."""
        with self._lock:
            return [
                _stored(place, each, answered=each.call_id in self._told)
                for place, each in sorted(self._generations.items())
            ]


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
