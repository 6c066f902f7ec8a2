"""How long ago something was, where no single clock can be trusted.

Between two invocations the environment may have been frozen, and under SnapStart restored from a
snapshot of another day. Which clocks go on meanwhile depends on the host: the monotonic one was
seen to stop and to run, the wall clock may be set. Whoever asks for a gap takes the largest.

Source: measurements of others on Lambda, awslabs/aws-lambda-web-adapter #830 (2026-09), and
hyperium/hyper #3810 for SnapStart.
"""

from __future__ import annotations

from lambda_runtime_api.declarations import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdallm_extension.ports import Clock


class Moment(NamedTuple):
    """One point in time as every clock shows it."""

    epoch_ms: int
    monotonic: float
    boottime: float

    @classmethod
    def of(cls, clock: Clock) -> Moment:
        """Read all clocks now."""
        return cls(clock.epoch_ms(), clock.monotonic(), clock.boottime())

    def seconds_since(self, earlier: Moment) -> float:
        """Return the largest difference that any clock shows; below 0 if all went back."""
        return max(
            (self.epoch_ms - earlier.epoch_ms) / 1_000,
            self.monotonic - earlier.monotonic,
            self.boottime - earlier.boottime,
        )
