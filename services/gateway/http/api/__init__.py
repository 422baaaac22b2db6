"""The HTTP doors: they translate, call the predictor, and translate back."""
