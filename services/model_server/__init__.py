"""Retort's model server: Triton, the loader that decides what it serves, and its ONNX Runtime backend."""
