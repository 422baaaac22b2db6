"""The gRPC door: it translates, calls the predictor, and translates back."""
