"""The earlier package's providers: where a test puts its own model.

`context.invoke` asks the sidecar. Only where `get_provider` has been replaced, which is how
tests of the earlier package do it, the replacement is asked instead.

`register` is for providers of the user's own, which the sidecar meters (docs/own_providers.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdallm._own_providers import register
from lambdallm.providers.base import BaseProvider, EngineProvider

if TYPE_CHECKING:
    from lambdallm._models import ModelConfig

__all__ = ["BaseProvider", "EngineProvider", "get_provider", "register"]


def get_provider(model_config: ModelConfig) -> BaseProvider:
    """Return a provider that asks through the sidecar, whatever the model."""
    return EngineProvider(model_config)


OWN_GET_PROVIDER = get_provider
"""What `get_provider` is as long as nobody has replaced it."""
