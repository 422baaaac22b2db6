"""Retort's training half: from data and a teacher to a gated, published INT8 model."""
