"""Windows of JPEGs: the very pixels that decoding all of it gives, at every edge."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from hourglass_jax.data import jpeg

pytestmark = pytest.mark.core


def picture(height, width, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (4, 5, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)


def whole(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (7, 200), (200, 7), (64, 96), (101, 83)])
def test_a_window_has_the_pixels_of_the_whole(size):
    content = jpeg.encode(picture(*size))
    rng = np.random.default_rng(1)
    everything = whole(content)
    for _ in range(50):
        top, bottom = np.sort(rng.uniform(-20, size[0] + 20, 2))
        left, right = np.sort(rng.uniform(-20, size[1] + 20, 2))
        part, (x, y) = jpeg.decode(content, left, top, right, bottom)
        height, width = part.shape[:2]
        np.testing.assert_array_equal(part, everything[y : y + height, x : x + width])
        # Nothing that the window touches is left out, and little beyond it comes along.
        for low, high, first, side, all_of_it in (
            (left, right, x, width, size[1]),
            (top, bottom, y, height, size[0]),
        ):
            low, high = np.clip([low, high], 0, all_of_it)
            assert high <= low or (first <= low and high <= first + side)
            assert side <= high - low + 16


def test_more_than_eight_blocks_turn_their_markers_anew():
    content = jpeg.encode(picture(160, 176))
    for left in range(0, 72, 8):
        part, first = jpeg.decode(content, left, 24, left + 72, 136)
        assert first == (left, 24) and part.shape == (112, 72, 4)
        np.testing.assert_array_equal(part, whole(content)[24:136, left : left + 72])


def test_any_program_reads_them():
    smooth = cv2.GaussianBlur(picture(90, 70), (0, 0), 3)
    error = whole(jpeg.encode(smooth))[..., :3].astype(int) - smooth
    # Brightness (ITU-T T.871) is coded better than colours.
    assert abs(error @ [0.299, 0.587, 0.114]).max() <= 3 and abs(error).max() <= 10


def test_brightness_is_coded_better_than_colours():
    tables = Image.open(io.BytesIO(jpeg.encode(picture(16, 16)))).quantization
    assert sum(tables[1]) > 3 * sum(tables[0])  # 1.6 times as coarse at equal qualities


def test_colours_keep_their_resolution():
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2], stripes[:, 1::2] = (200, 40, 40), (40, 40, 200)
    assert abs(whole(jpeg.encode(stripes))[..., :3].astype(int) - stripes).max() < 25


@pytest.mark.parametrize("options", [{}, {"restart_marker_rows": 1}, {"progressive": True}])
def test_other_jpegs_are_decoded_whole(options):
    stream = io.BytesIO()
    Image.fromarray(picture(40, 48)).save(stream, format="jpeg", **options)
    part, first = jpeg.decode(stream.getvalue(), 10, 10, 20, 20)
    assert first == (0, 0)
    np.testing.assert_array_equal(part, whole(stream.getvalue()))


def test_a_wrong_table_is_passed_over():
    content = jpeg.encode(picture(96, 128))
    everything = whole(content)
    for place in range(content.rindex(b"\xff\xd9") + 2, len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        part, first = jpeg.decode(damaged, 40, 30, 90, 70)
        assert first == (0, 0)
        np.testing.assert_array_equal(part, everything)


def test_what_follows_the_table_or_is_missing_of_it_is_passed_over():
    content = jpeg.encode(picture(96, 128))
    for other in (content + b"more", content[:-1], content[:-100], content[:-300]):
        part, first = jpeg.decode(other, 40, 30, 90, 70)
        assert first == (0, 0)
        np.testing.assert_array_equal(part, whole(content))


def test_rows_of_more_blocks_than_are_taken_at_once():
    image = np.full((24, 9000, 3), 90, np.uint8)
    image[:, 8000:] = 200
    content = jpeg.encode(image)
    part, first = jpeg.decode(content, 1000, 8, 8999, 24)
    assert first == (1000, 8) and part.shape == (16, 8000, 4)
    np.testing.assert_array_equal(part, whole(content)[8:, 1000:])


def test_a_table_may_be_longer_than_a_segment():
    content = jpeg.encode(np.zeros((1448, 1456, 3), np.uint8))
    part, first = jpeg.decode(content, 10, 10, 20, 20)
    assert first == (8, 8) and part.shape == (16, 16, 4)


def test_a_row_too_long_for_the_table_is_decoded_whole():
    image = np.random.default_rng(0).integers(0, 255, (8, 8192, 3), dtype=np.uint8)
    part, first = jpeg.decode(jpeg.encode(image), 10, 0, 20, 8)
    assert first == (0, 0) and part.shape == (8, 8192, 4)


def test_codes_that_another_program_wrote_before_our_table_are_decoded_whole():
    content, other = jpeg.encode(picture(96, 128)), io.BytesIO()
    Image.fromarray(picture(96, 128)).save(other, format="jpeg", quality=92, subsampling=0)
    table = content[content.rindex(b"\xff\xd9") + 2 :]
    part, first = jpeg.decode(other.getvalue() + table, 40, 30, 90, 70)
    assert first == (0, 0)
    np.testing.assert_array_equal(part, whole(other.getvalue()))


def test_windows_are_decoded_into_given_memory():
    content = jpeg.encode(picture(101, 83))
    windows = [[-5.5, 3, 40.2, 90], [80, 98, 81, 99], [10, 10, 200, 300]]
    memory = jpeg.memory_for(windows)
    assert memory.ctypes.data % 16 == 4  # see there
    for window in windows:
        part, (x, y) = jpeg.decode(content, *window, memory)
        assert np.shares_memory(part, memory)
        height, width = part.shape[:2]
        np.testing.assert_array_equal(part, whole(content)[y : y + height, x : x + width])


@pytest.mark.parametrize("content", [b"", b"\xff\xd8", b"no picture at all", bytes(1000)])
def test_what_is_not_a_jpeg_is_an_error(content):
    with pytest.raises(ValueError, match="not a JPEG"):
        jpeg.decode(content, 0, 0, 8, 8)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.99])
def test_an_image_that_is_cut_short_is_refused(share):
    content = jpeg.encode(picture(64, 64))
    end = content.rindex(b"\xff\xd9")  # of the image; the table of its blocks follows
    with pytest.raises(ValueError, match="not a JPEG"):
        jpeg.decode(content[: int(share * end)], 0, 0, 64, 64)
