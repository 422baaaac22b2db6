"""The data plane: answers HTTP clients from Triton, with routing and micro-batching."""
