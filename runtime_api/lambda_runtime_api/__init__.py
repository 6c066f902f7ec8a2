"""The HTTP APIs that AWS offers inside one execution environment, from both sides.

Clients for the sidecar and the SDK (`extensions`, `runtime`), the HTTP/1.1 they share
(`http1`), and an emulator that serves the same APIs on one machine.
"""
