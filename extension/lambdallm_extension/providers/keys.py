"""The key of one API: where it comes from, and what happens when it is refused."""

from __future__ import annotations

from lambdallm_extension.errors import SettingError
from lambdallm_wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from lambda_runtime_api.http1 import Headers

    class Secrets(Protocol):
        """What of `aws.secrets.Secrets` is used here."""

        def resolve(self, reference: str, deadline_ms: int) -> str:
            """Return the key that a reference stands for."""
            ...

        def forget(self, reference: str) -> bool:
            """Know that it was refused; return whether asking again with a new one may help."""
            ...


_HIDDEN = "[the key]"


class ApiKey:
    """One API's key. It is read when a request is made, and never kept in an error or a repr."""

    def __init__(
        self,
        reference: str,
        secrets: Secrets,
        header: Callable[[str], Headers],
        missing: str,
    ) -> None:
        """Fetch nothing yet.

        Args:
            reference: The key, `env:NAME`, an ARN; "" where there is none.
            secrets: Resolves references.
            header: Puts a key into the headers that this API wants it in.
            missing: The sentence for an API that needs a key and has none; "" where it needs none.
        """
        self._reference = reference
        self._secrets = secrets
        self._header = header
        self._missing = missing
        self._last = ""

    def headers(self, deadline_ms: int) -> Headers:
        """Return the headers that carry it.

        Raises:
            SettingError: There is none, or none that a header can carry.
            ProviderError, DeadlineError: It could not be fetched.
        """
        if not self._reference:
            if self._missing:
                raise SettingError(self._missing)
            return []
        self._last = self._secrets.resolve(self._reference, deadline_ms)
        return self._header(self._last)

    def refused(self) -> bool:
        """Know that the API has refused it; return whether asking again with a new one may help."""
        return bool(self._reference) and self._secrets.forget(self._reference)

    def hide(self, text: str) -> str:
        """Return a text without the key: some servers repeat it in their refusal."""
        return text.replace(self._last, _HIDDEN) if self._last else text


def original(environ: Mapping[str, str], name: str) -> str:
    """Return what a variable held before it was pointed at the sidecar, "" for nothing.

    A key that the function's code has set since then is its own, and counts.
    """
    value = environ.get(name, "")
    lent = not name.endswith("_KEY") or value.startswith(names.CLIENT_KEY_BEGINNING)
    return (environ.get(names.UPSTREAM_BEGINNING + name, value) if lent else value).strip()
