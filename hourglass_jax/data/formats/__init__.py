"""Readers of annotation files that several data sets use."""
