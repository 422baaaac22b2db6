"""The way to Triton, over several addresses."""
