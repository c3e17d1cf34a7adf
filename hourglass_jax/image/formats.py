"""The formats of images and videos that are read."""

# Files of a folder with these endings are treated as images, readable or not.
IMAGES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    *(".ppm", ".pgm", ".avif", ".heic", ".heif"),
)
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
