"""Where tables are printed: as wide as the terminal is, and as wide as they are anywhere else."""

from __future__ import annotations

from rich.console import Console

WIDE = 240
"""Columns of a file or a pipe: no name is cut there."""

WIDE_FROM = 110
"""Columns of a terminal; a narrower one shows the most important ones alone."""


def console() -> Console:
    """Return standard output. What stands in square brackets is no style: users have said it."""
    screen = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    if not screen.is_terminal:
        screen.width = WIDE
    return screen
