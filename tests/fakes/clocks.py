"""Time that stands still until a test moves it."""

START_MS = 1_790_000_000_000


class HandClock:
    """`ports.Clock`, moved by hand."""

    def __init__(self) -> None:
        self.now_ms = START_MS

    def epoch_ms(self) -> int:
        return self.now_ms

    def monotonic(self) -> float:
        return self.now_ms / 1_000
