"""One person's pose by heatmaps: the task of Newell et al. (2016)."""
