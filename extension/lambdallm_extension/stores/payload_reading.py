"""Reading items whose texts lie elsewhere: all at once, each one held against its ticket."""

from __future__ import annotations

from functools import partial
from itertools import islice

from lambdallm_extension.errors import StoreRefusedError, TooMuchAtOnceError
from lambdallm_extension.stores import tickets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambdallm_extension.ports import Clock, Item
    from lambdallm_extension.stores.payload_jobs import Jobs
    from lambdallm_extension.stores.places import Place
    from lambdallm_extension.stores.tickets import Ticket


class PayloadReader:
    """Makes items whole again. Threads share it."""

    def __init__(
        self, places: Sequence[Place], jobs: Jobs, clock: Clock, *, room_bytes: int
    ) -> None:
        self._room_bytes = room_bytes
        self._places = {each.name: each for each in places}
        self._jobs = jobs
        self._clock = clock

    def is_over(self, item: Item) -> bool:
        """Whether an item has expired and may have lost its texts."""
        return (
            tickets.ATTRIBUTE in item.attributes
            and item.expires_at is not None
            and item.expires_at <= self._clock.epoch_ms() // 1_000
        )

    def whole(self, items: list[Item], deadline_ms: int) -> list[Item]:
        """Return the items with their texts.

        Raises:
            TooMuchAtOnceError: There is no room for all of these; nothing was fetched.
            StoreRefusedError: A text is gone, or another one.
        """
        if not any(tickets.ATTRIBUTE in item.attributes for item in items):
            return items
        self._check_room(items)
        wanted = [
            (index, name, ticket)
            for index, item in enumerate(items)
            for name, ticket in tickets.tickets_of(item).items()
        ]
        pieces = iter(
            self._jobs.run(
                [
                    partial(self._piece, items[index], name, ticket, number, deadline_ms)
                    for index, name, ticket in wanted
                    for number in range(ticket.pieces)
                ],
                deadline_ms,
            )
        )
        found: dict[int, dict[str, str]] = {}
        for index, name, ticket in wanted:
            stored = b"".join(islice(pieces, ticket.pieces))
            text = self._text(items[index], name, ticket, stored, deadline_ms)
            found.setdefault(index, {})[name] = text
        return [
            tickets.without_tickets(item, found[index]) if index in found else item
            for index, item in enumerate(items)
        ]

    def _check_room(self, items: list[Item]) -> None:
        """Refuse texts that are too large together; those of one item are never too much."""
        total = 0
        for number, item in enumerate(items):
            size = sum(ticket.length for ticket in tickets.tickets_of(item).values())
            if size and total and total + size > self._room_bytes:
                message = (
                    f"Items of the partition {item.key.pk!r} hold more than "
                    f"{self._room_bytes:,} bytes together: ask for fewer of them at once, or give "
                    "the function more memory."
                )
                raise TooMuchAtOnceError(message, number)
            total += size

    def _text(self, item: Item, name: str, ticket: Ticket, stored: bytes, deadline_ms: int) -> str:
        """See that it is the text that was written; fetch another one once more.

        Raises:
            StoreRefusedError: It is gone, or another one.
        """
        try:
            return tickets.text_of(ticket, stored)
        except ValueError as error:
            if not ticket.place:
                raise tickets.damaged(item.key, name, str(error)) from None
        again = [
            self._piece(item, name, ticket, number, deadline_ms) for number in range(ticket.pieces)
        ]
        try:
            return tickets.text_of(ticket, b"".join(again))
        except ValueError as error:
            where = self._place_of(item, name, ticket).where(ticket.key)
            raise tickets.damaged(item.key, name, f"{error} ({where})") from None

    def _piece(self, item: Item, name: str, ticket: Ticket, number: int, deadline_ms: int) -> bytes:
        place = self._place_of(item, name, ticket)
        piece = place.read(ticket.key, number, is_text=not ticket.coding, deadline_ms=deadline_ms)
        if piece is None:
            what = f"is gone from where it lay, {place.where(ticket.key)}"
            raise tickets.damaged(item.key, name, what)
        return piece

    def elsewhere(self, item: Item) -> list[tuple[str, Ticket, Place]]:
        """Return what an item has elsewhere, and where."""
        return [
            (name, ticket, self._place_of(item, name, ticket))
            for name, ticket in tickets.tickets_of(item).items()
            if ticket.place
        ]

    def _place_of(self, item: Item, name: str, ticket: Ticket) -> Place:
        place = self._places.get(ticket.place)
        if place is None:
            message = (
                f"The {name!r} of the item pk={item.key.pk!r} sk={item.key.sk!r} lies in S3: set "
                "LAMBDALLM_PAYLOADS=s3://BUCKET/PREFIX as the function has it that wrote it."
            )
            raise StoreRefusedError(message)
        return place
