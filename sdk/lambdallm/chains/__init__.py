"""The earlier package's `lambdallm.chains`."""

from lambdallm._chain import Chain
from lambdallm._chain_parts import Step
from lambdallm._chain_results import ChainResult, StepResult
from lambdallm.chains.runner import ChainRunner

__all__ = ["Chain", "ChainResult", "ChainRunner", "Step", "StepResult"]
