"""What the sidecar does for a handler, one use case a module, over the ports."""
