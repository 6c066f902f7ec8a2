"""The localhost API: sockets and guards in `http`, the token in `token`, routes in `handlers`."""
