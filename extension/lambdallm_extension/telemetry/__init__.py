"""Where the sidecar's reports go: CloudWatch's embedded metric format, on stdout."""
