"""`retort bench`: how fast this machine serves a model, beside what limits it."""
