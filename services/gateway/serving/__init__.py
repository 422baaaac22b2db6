"""From texts to predictions: which version answers, and how its batches are made."""
