"""Evaluation of whole splits: predictions, figures, images, the report."""
