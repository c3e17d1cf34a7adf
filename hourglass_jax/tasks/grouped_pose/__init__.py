"""Everybody's joints at once, by associative embedding: a heatmap and tags for each joint."""
