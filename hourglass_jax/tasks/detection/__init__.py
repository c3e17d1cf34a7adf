"""Detection of objects by keypoints: corners (CornerNet) or centres (CenterNet) of boxes."""
