"""Deprecated, until 1.0: use `hourglass_jax.tasks.single_pose.metrics`."""

from hourglass_jax.tasks.single_pose.metrics import PCK as PCK
from hourglass_jax.tasks.single_pose.metrics import Counts as Counts
from hourglass_jax.tasks.single_pose.metrics import PCKh as PCKh
from hourglass_jax.tasks.single_pose.metrics import pck as pck
from hourglass_jax.tasks.single_pose.metrics import pckh as pckh
from hourglass_jax.tasks.single_pose.metrics import pckh_auc as pckh_auc
