"""Prediction: images, boxes and videos in, poses out."""
