"""The earlier package's `lambdallm.chains.chain`."""

from lambdallm._chain import Chain
from lambdallm._chain_parts import Step

__all__ = ["Chain", "Step"]
