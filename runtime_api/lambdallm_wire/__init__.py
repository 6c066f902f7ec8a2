"""The contract between the SDK and the sidecar: routes, messages, errors and names.

Both programs import this package and nothing of each other. It imports nothing but the
standard library, does no I/O, and keeps fields that it does not know, so that an SDK and a
sidecar of neighbouring minor versions understand each other.
"""
