"""Evidence from counts: tests that may be looked at as often as one likes. Imports nothing of ours."""
