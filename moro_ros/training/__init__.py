"""Training stages, losses and the loop."""
