"""Predictions as the files of labelling tools; see `writer`."""
