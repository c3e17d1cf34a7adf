"""Images for people: enlarged, with captions, side by side, and on the disk."""

import numpy as np
import pytest
from PIL import Image

from hourglass_jax.image import draw, geometry

pytestmark = pytest.mark.core


@pytest.mark.parametrize(("width", "factor"), [(64, 4), (100, 3), (256, 1), (300, 1)])
def test_enlarging_keeps_points_on_their_pixels(width, factor):
    image = np.zeros((200, width, 3), np.uint8)
    image[60, 40] = 255
    large, affine = draw.enlarge(image)
    assert large.shape == (200 * factor, width * factor, 3)
    ((x, y),) = geometry.apply(affine, np.array([[40.0, 60.0]]))
    brightness = large.astype(float).sum(-1) * (large.sum(-1) > 300)
    rows, columns = np.indices(brightness.shape)
    middle = np.array([(brightness * columns).sum(), (brightness * rows).sum()]) / brightness.sum()
    np.testing.assert_allclose(middle, (x, y), atol=0.1)


def test_a_caption_leaves_the_rest_of_the_image_alone():
    image = np.full((60, 120, 3), 90, np.uint8)
    captioned = draw.caption(image.copy(), "12.5 %")
    assert (captioned[22:] == 90).all() and captioned[:22].min() == 30
    assert captioned[:22].max() > 200
    assert (draw.caption(image.copy(), "") == captioned).all(-1).mean() > 0.9


def test_a_sheet_holds_every_image():
    sheet = draw.grid([np.full((10, 20, 3), i, np.uint8) for i in (50, 100, 150)], columns=2)
    assert sheet.shape == (24, 44, 3)
    assert sheet[5, 5, 0] == 50 and sheet[5, 30, 0] == 100 and sheet[20, 5, 0] == 150


def test_images_are_saved_as_they_are(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    draw.save_png(tmp_path / "new" / "a.png", image)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "new" / "a.png")), image)
