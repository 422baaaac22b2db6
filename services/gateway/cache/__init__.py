"""The cache: answers given again, and how often they may be wrong."""
