"""Time that stands still until a test moves it."""

START_MS = 1_790_000_000_000


class HandClock:
    """`ports.Clock`, moved by hand."""

    def __init__(self) -> None:
        self.now_ms = START_MS
        self.monotonic_ahead = 0.0
        self.boottime_ahead = 0.0

    def jump(self, which: str, seconds: float) -> None:
        """Move one clock alone: `wall`, `monotonic` or `boottime`."""
        if which == "wall":
            self.now_ms += round(seconds * 1_000)
            self.monotonic_ahead -= seconds
            self.boottime_ahead -= seconds
        elif which == "monotonic":
            self.monotonic_ahead += seconds
        else:
            self.boottime_ahead += seconds

    def epoch_ms(self) -> int:
        return self.now_ms

    def monotonic(self) -> float:
        return self.now_ms / 1_000 + self.monotonic_ahead

    def boottime(self) -> float:
        return self.now_ms / 1_000 + self.boottime_ahead
