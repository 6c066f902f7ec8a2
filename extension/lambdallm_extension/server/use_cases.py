"""What the routes ask of the engine's parts. Declarations alone: nothing is loaded for them."""

from __future__ import annotations

from lambda_runtime_api.declarations import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.price_book.pricing import Pricing
    from lambdallm_extension.services.accounting import Accounting
    from lambdallm_extension.services.chat import Chat
    from lambdallm_extension.services.connections import Connections
    from lambdallm_extension.services.embedding import Embedding
    from lambdallm_extension.services.performing import Performing
    from lambdallm_extension.services.runs import Runs
    from lambdallm_extension.services.spending import Spending


class Models(Protocol):
    """The use cases that ask models, each opened at its first use."""

    performing: Performing

    @property
    def cost_headers(self) -> str:
        """Whose answers say what they have cost: `cost.headers` of the configuration."""
        ...

    def named(self, name: str) -> str:
        """Return the model that stands behind a name."""
        ...

    def chat(self) -> Chat:
        """Return the one for chats."""
        ...

    def embedding(self) -> Embedding:
        """Return the one for vectors."""
        ...

    def pricing(self) -> Pricing:
        """Return who knows what calls cost."""
        ...

    def spending(self) -> Spending:
        """Return who says what may be spent."""
        ...

    def accounting(self) -> Accounting:
        """Return what whoever pays may ask."""
        ...

    def runs(self) -> Runs:
        """Return what opens the runs of chains."""
        ...

    def connections(self) -> Connections:
        """Return what writes to clients of WebSocket APIs."""
        ...
