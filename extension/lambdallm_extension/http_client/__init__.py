"""Calls of remote HTTP APIs: connections that are kept, proxies, TLS, and how calls fail.

Nothing here knows whose API it is: `aws` signs, `providers` bring keys.
"""
