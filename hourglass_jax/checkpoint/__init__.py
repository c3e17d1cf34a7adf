"""Checkpoints: the state, what it means, and how both are stored."""
