"""What a key of `lambdallm.yaml` is: its kind, its bounds, what it means."""

from __future__ import annotations

TEXT = "text"
SCALAR = "text, number or yes/no"
INTEGER = "whole number"
NUMBER = "number"
DECIMAL = "decimal"
USD = "decimal of USD"
USD_PER_MILLION = "decimal of USD for a million tokens"
TEXTS = "list of texts"
HEADERS = "texts by name"

USED = "used"
LATER = "read, not used yet"
DEPLOYING = "of the earlier package's deployment; read, not used yet"


class Setting:
    """One key.

    Attributes:
        path: Its names from the top, `*` for one that the user chooses.
        kind: One of the words above.
        least, most: Bounds of a number, both included; None: none.
        choices: The only values, () for any.
        default: What holds without it, "" where nothing does.
        meaning: In a sentence.
        example: As it is written.
        effect: `USED`, or why not.
    """

    __slots__ = (
        "choices", "default", "effect", "example", "kind", "least", "meaning", "most", "path",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - a row's columns, all but three of them keywords
        self,
        path: str,
        kind: str,
        meaning: str,
        *,
        least: float | None = None,
        most: float | None = None,
        choices: tuple[str, ...] = (),
        default: str = "",
        example: str = "",
        effect: str = USED,
    ) -> None:
        """Fill a row."""
        self.path = tuple(path.split("."))
        self.kind = kind
        self.meaning = meaning
        self.least = least
        self.most = most
        self.choices = choices
        self.default = default
        self.example = example
        self.effect = effect

    @property
    def name(self) -> str:
        """The path as it is written in sentences."""
        return ".".join(self.path)

    def values(self) -> str:
        """Say which values it takes."""
        if self.choices:
            return " or ".join(repr(choice) for choice in self.choices)
        if self.least is not None and self.most is not None:
            return f"a {self.kind} from {self.least:g} to {self.most:g}"
        if self.least is not None:
            return f"a {self.kind} from {self.least:g}"
        return f"a {self.kind}" if self.kind != HEADERS else self.kind
