"""What is wrong with a value, and where; and how that is told to whom.

A fault names its place twice where it has to: in full for whoever has sent the value, and with `*`
for each name that the schema does not have, for sentences that are logged.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Faults = list[dict[str, str]]
    """Shape: [{"field": "answer.prices.Ann", "detail": "is missing", "safe": "answer.prices.*"}]"""

FAULTS_MAX = 20
"""Reported at once; a hostile body must not make a long answer."""

_FIELD_MAX = 200
"""Characters of a field's name, which may be somebody's."""


class Path:
    """Where a part of a value stands, and how that may be said where others read it.

    Attributes:
        told: In full.
        safe: With `*` for each name that is not the schema's: it is somebody's text.
    """

    __slots__ = ("safe", "told")

    def __init__(self, told: str, safe: str) -> None:
        self.told = told
        self.safe = safe

    def field(self, name: str) -> Path:
        """Go to a field that the schema names."""
        return self._beyond(f".{name}")

    def made_up(self, name: str) -> Path:
        """Go to a field whose name is the value's own."""
        return Path(f"{self.told}.{name}", f"{self.safe}.*")

    def item(self, at: int) -> Path:
        """Go to an item of a list."""
        return self._beyond(f"[{at}]")

    def _beyond(self, part: str) -> Path:
        told = self.told + part
        return Path(told, told if self.safe is self.told else self.safe + part)


def fault(path: Path, detail: str) -> dict[str, str]:
    """Return a fault; it has its safe path where the other one is not."""
    told = {"field": path.told[:_FIELD_MAX], "detail": detail}
    return told if path.safe == path.told else {**told, "safe": path.safe[:_FIELD_MAX]}


def in_sentence(faults: Faults) -> str:
    """Return faults for a sentence that may be logged: names that were made up stay out of it."""
    said = [f"{each.get('safe', each['field'])} {each['detail']}" for each in faults]
    return "; ".join(dict.fromkeys(said))


def in_full(faults: Faults) -> Faults:
    """Return faults as whoever has sent the value is told them."""
    return [{name: each[name] for name in each if name != "safe"} for each in faults]


class TooMuchError(Exception):
    """A value cannot be checked to its end, which no choice makes up for."""

    def __init__(self, path: Path, detail: str) -> None:
        super().__init__(detail)
        self.faults = [fault(path, detail)]
