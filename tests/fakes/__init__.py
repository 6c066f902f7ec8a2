"""What several test folders share: a clock set by hand, a server that others wrote."""
