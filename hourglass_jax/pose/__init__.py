"""Deprecated module names, to be removed in 1.0."""
