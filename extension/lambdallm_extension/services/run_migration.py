"""What becomes of a run's finished steps when a later version of its chain goes on with it.

    "draft" is "write" now     STEP#draft ──► STEP#write, and STEP#draft says that it is gone
    "check" is left out        STEP#check ──► DROPPED#check: what was paid for it still counts

What was moved says to which version. So a migration that was interrupted can be done again, also
where one step takes the name of another. No I/O.
"""

from __future__ import annotations

from lambdallm_extension import errors
from lambdallm_extension.services import run_items

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lambdallm_extension.ports import Action
    from lambdallm_extension.services.run_books import RunBooks
    from lambdallm_extension.services.run_items import Writing
    from lambdallm_wire.runs import FinishedStep

    Moves = dict[str, FinishedStep | None]
    """A step's key to itself under its new one, None where it has none."""


class Migration:
    """The moves of one run to one version."""

    def __init__(self, books: RunBooks, renamed: Mapping[str, str], version: str) -> None:
        """Plan it.

        Args:
            books: What is finished.
            renamed: Names of steps to what they are called now, "" for nothing.
            version: Of the chain now.

        Raises:
            StoreRefusedError: A step would take the name of another finished one, which keeps it.
        """
        self._version = version
        self._steps = dict(books.steps)
        self._groups: dict[str, Moves] = {}
        for key, step in books.steps.items():
            root, slash, rest = key.partition("/")
            if root in renamed and books.moved.get(key) != version:
                name = renamed[root]
                moved: FinishedStep | None = None
                if name:
                    moved = {**step, "key": name + slash + rest}
                self._groups.setdefault(rest, {})[key] = moved
        for moves in self._groups.values():
            self._refuse_collisions(moves)

    def _refuse_collisions(self, moves: Moves) -> None:
        for key, step in moves.items():
            if step is not None and step["key"] in self._steps and step["key"] not in moves:
                detail = (
                    f"Step {key!r} cannot become {step['key']!r}, which is finished too. Say with "
                    "Chain(migrations=…) what becomes of that one."
                )
                raise errors.StoreRefusedError(detail)

    def groups(self, writing: Writing, actions_max: int) -> Iterator[Sequence[Action]]:
        """Return what writes it, each to be written at once.

        Raises:
            StoreRefusedError: More steps take each other's names than can be written at once.
        """
        batch: list[Action] = []
        for moves in self._groups.values():
            actions = [*self._actions(writing, moves)]
            if len(actions) > actions_max:
                detail = f"A version cannot rename {len(moves)} steps: they have to move together."
                raise errors.StoreRefusedError(detail)
            if len(batch) + len(actions) > actions_max:
                yield batch
                batch = []
            batch += actions
        if batch:
            yield batch

    def _actions(self, writing: Writing, moves: Moves) -> Iterator[Action]:
        taken = {step["key"] for step in moves.values() if step is not None}
        for key, step in moves.items():
            if step is None:
                yield run_items.put_dropped(writing, self._steps[key])
            else:
                yield run_items.put_moved(writing, step, self._version)
            if key not in taken:
                yield run_items.put_gone(writing, key, self._version)

    def note(self, books: RunBooks) -> None:
        """Let the books say what is written."""
        moves = [move for group in self._groups.values() for move in group.items()]
        books.move(
            [step for _, step in moves if step is not None],
            self._version,
            gone=[key for key, _ in moves],
        )
        books.drop([self._steps[key] for key, step in moves if step is None])
