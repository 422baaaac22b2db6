"""Retort's training half: from data and a teacher to a gated, published INT8 model."""

import os

# Before ONNX Runtime is imported anywhere: its telemetry writes a device id into the home folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
