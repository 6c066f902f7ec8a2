"""The book's text: one line for a source, one for a model, and a question reads one of them.

Shape:
    {"version":1,"sources":[
    "litellm 1.109.1 and genai-prices 0.2.3, which names https://…"
    ],
    "models":{
    "openai/gpt-5-mini":[{"from":"","prices":{"standard":{"input":250000,"output":2000000,
        "cache_read":25000},"flex":{"input":125000,…}},"source":0,"as_of":"2026-11-21"}]
    }}

Prices are pico-USD for a token. A tier's `"above":{"tokens":272000,"input":…}` is what all tokens
of a call cost whose whole input, cached tokens included, is longer than that. A model has rows by
the day (UTC) that they begin on, `from`, "" for ever; `disputed` marks a row whose two catalogues
name different prices, the higher of which stands in it. A model's last row may have
`"limits":[200000,64000]`: what it reads and writes at most, in tokens, null where nobody knows.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import cast
from lambdallm_wire import plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Rows = list[dict[str, Any]]

_VERSION = '{"version":'
_MODELS = '\n"models":{\n'


class Book:
    """One edition. Nothing of it is kept apart: 1,000 models would be a megabyte of objects."""

    __slots__ = ("_text", "version")

    def __init__(self, text: str) -> None:
        """Take a text.

        Raises:
            ValueError: It does not begin as a book does.
        """
        number = text[len(_VERSION) : text.find(",")]
        if not text.startswith(_VERSION) or not number.isdecimal() or _MODELS not in text:
            message = "this is no price book"
            raise ValueError(message)
        self.version = int(number)
        self._text = text

    def rows(self, key: str) -> Rows:
        """Return a key's rows, the oldest first; none where the book does not have it."""
        line = f"\n{plain_json.dumps(key, ensure_ascii=True)}:["
        begin = self._text.find(line)
        if begin < 0:
            return []
        begin += len(line) - 1
        end = self._text.index("\n", begin)
        return cast("Rows", plain_json.loads(self._text[begin:end].rstrip(",")))

    def source(self, number: int) -> str:
        """Return where a row was read."""
        line = self._text.split("\n", number + 2)[number + 1]  # behind the line that opens the list
        return cast("str", plain_json.loads(line.rstrip(",")))

    def keys(self) -> list[str]:
        """Return the key of every model."""
        lines = self._text.partition(_MODELS)[2].splitlines()
        return [plain_json.loads(line[: line.index('":[') + 1]) for line in lines if '":[' in line]

    def check(self) -> None:
        """Read all of it, as a question would read its part.

        Raises:
            ValueError: Some line is not what it should be; nothing in the book is to be trusted.
        """
        try:
            whole = plain_json.loads(self._text)
            for key, rows in whole["models"].items():
                if rows != self.rows(key):
                    message = f"the line of {key!r} is not where it is looked for"
                    raise ValueError(message)
                for row in rows:
                    _check_row(row, whole["sources"])
        except (LookupError, TypeError, AttributeError) as error:
            message = f"this is no price book ({type(error).__name__}: {error})"
            raise ValueError(message) from error


def _check_row(row: dict[str, Any], sources: list[Any]) -> None:
    texts = (row["from"], row["as_of"], sources[row["source"]])
    rates = [*row["prices"].values()]
    rates += [prices["above"] for prices in rates if "above" in prices]
    fits = all(isinstance(text, str) for text in texts) and all(
        kind == "above" or (type(price) is int and price >= 0)
        for prices in rates
        for kind, price in prices.items()
    )
    limits = row.get("limits", [None, None])
    fits = fits and len(limits) == 2 and all(_is_limit(limit) for limit in limits)  # noqa: PLR2004 - read, written
    if not fits or not row["prices"]:
        message = "a row is not what it should be"
        raise ValueError(message)


def _is_limit(limit: Any) -> bool:
    return limit is None or (type(limit) is int and limit > 0)


def built_in() -> Book:
    """Return the book that was shipped, read once. Two threads that begin together both read."""
    if not _READ:
        path = f"{__file__.rpartition('/')[0]}/prices.json"
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs 8 ms of a cold start
            _READ.append(Book(file.read().decode()))
    return _READ[0]


_READ: list[Book] = []
