"""Decisions without I/O: what to keep, what to wait, how to spell a key."""
