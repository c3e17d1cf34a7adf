"""BatchNorm's means; its values and gradients are tested with the layer."""

import jax.numpy as jnp
import numpy as np

from hourglass_jax.nn.kernels import batch_norm


def test_means_by_products_are_means():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(3, 0.3, (4, 64, 64, 5)), jnp.float32)
    for found, values in zip(batch_norm._means_by_product(x, x**2), (x, x**2), strict=True):
        expected = np.asarray(values, np.float64).mean((0, 1, 2))
        np.testing.assert_allclose(found, expected, rtol=2e-6)
