"""Changes of a session's metadata: key by key, so that two events that change two keys both win.

what an event read   {"plan": "free", "seen": 1}
what it left         {"plan": "pro"}                 keys ("plan", "seen")
what stands by now   {"plan": "free", "seen": 1, "language": "fr"}
what is written      {"plan": "pro", "language": "fr"}
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class MetadataChange(NamedTuple):
    """What an event did to the metadata.

    Attributes:
        metadata: All of it, as the event left it.
        keys: The top-level keys that it set, or removed where they are not in `metadata`; None:
            it says nothing about keys, and all of the metadata is replaced.
        defaults: Those of them that yield to what is stored: what a session begins with.
    """

    metadata: Mapping[str, object]
    keys: frozenset[str] | None = None
    defaults: frozenset[str] = frozenset()

    def applied_to(self, stored: Mapping[str, object]) -> dict[str, object]:
        """Return what stands after it."""
        if self.keys is None:
            return {**self.metadata}
        keys = self.keys - self.defaults.intersection(stored)
        left = {key: value for key, value in stored.items() if key not in keys}
        return left | {key: self.metadata[key] for key in keys if key in self.metadata}

    def then(self, later: MetadataChange) -> MetadataChange:
        """Return the change that both are, one after the other."""
        if later.keys is None:
            return later
        if self.keys is None:
            return MetadataChange(later.applied_to(self.metadata))
        stays = later.defaults.intersection(self.keys, self.metadata)
        after = MetadataChange(later.metadata, later.keys - stays).applied_to(self.metadata)
        defaults = (later.defaults - self.keys) | (self.defaults - (later.keys - later.defaults))
        return MetadataChange(after, self.keys | later.keys, defaults)
