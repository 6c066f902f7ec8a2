"""The earlier package's `lambdallm.chains.runner`."""

from __future__ import annotations

from lambdallm._chain_results import ChainResult, StepResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lambdallm._chain import Chain

__all__ = ["ChainResult", "ChainRunner", "StepResult"]


class ChainRunner:
    """Runs a chain: `Chain.run` in the earlier package's words."""

    def __init__(self, chain: Chain, context: Any = None) -> None:
        """Keep both."""
        self.chain = chain
        self.context = context

    def execute(self, checkpoint: Mapping[str, Any] | None = None, **kwargs: Any) -> ChainResult:
        """Run it, or go on with it; see `Chain.run`."""
        return self.chain.run(self.context, checkpoint=checkpoint, **kwargs)
