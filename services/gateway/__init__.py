"""Retort's data plane: HTTP in front of Triton."""
