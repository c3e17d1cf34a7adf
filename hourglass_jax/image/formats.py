"""The formats of images and videos that are read: names of files, and what may be in them.

Decoders are chosen by a file's content, whatever its name. Some formats would start another
program (PostScript) or read other files (playlists): only formats listed here are tried.
"""

from PIL import Image

# Files of a folder with these endings are treated as images or videos, readable or not.
IMAGES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".jp2", ".j2k", ".png", ".apng", ".webp", ".gif"),
    *(".tif", ".tiff", ".bmp", ".dib", ".ppm", ".pgm", ".pbm", ".pnm", ".avif"),
    *(".heic", ".heif", ".hif"),  # not read: an error says so, where phones wrote them
)
VIDEOS = (
    *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3gpp", ".3g2", ".avi", ".divx", ".mkv", ".webm"),
    *(".mpg", ".mpeg", ".mpe", ".m1v", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".m2t", ".dv"),
    *(".wmv", ".asf", ".flv", ".f4v", ".ogv", ".rm", ".rmvb", ".mxf", ".mjpeg", ".mjpg", ".y4m"),
    *(".h264", ".264", ".h265", ".265", ".hevc", ".ivf", ".nut", ".wtv"),
)
# Pillow's names; a build may lack the last ones.
PILLOW = ("JPEG", "MPO", "PNG", "GIF", "TIFF", "BMP", "DIB", "PPM", "WEBP", "JPEG2000", "AVIF")
# Those whose further images are further frames: an MPO's are others, such as depth.
ANIMATED = ("GIF", "WEBP", "PNG", "TIFF", "AVIF")
# FFmpeg's names: containers, and streams without one. None of them refers to other files.
CONTAINERS = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "asf", "flv", "ogg", "rm", "mxf", "nut", "wtv"),
    *("yuv4mpegpipe", "ivf"),
)
STREAMS = ("mpegvideo", "m4v", "mjpeg", "jpeg_pipe", "h264", "hevc", "dv")
# Kinds of HEIF, as a file names them in its bytes 8 to 12.
HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def is_thumbnail(page: Image.Image) -> bool:
    """Returns whether a TIFF's current page is a smaller copy of another one."""
    return bool(getattr(page, "tag_v2", {}).get(254, 0) & 1)
