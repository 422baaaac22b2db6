"""The `retort` command line."""
