"""Deprecated, until 1.0: use `hourglass_jax.tasks.single_pose.heatmap`."""

from hourglass_jax.tasks.single_pose.heatmap import DECODERS as DECODERS
from hourglass_jax.tasks.single_pose.heatmap import decode as decode
from hourglass_jax.tasks.single_pose.heatmap import encode as encode
from hourglass_jax.tasks.single_pose.heatmap import flip_heatmaps as flip_heatmaps
