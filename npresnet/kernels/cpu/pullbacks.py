"""The kernels that only pullbacks launch, of the networks that are trained most, in order of use."""

from . import activation, channels, pointwise, pool
from .conv import filter_gradient, repack, slide_gradient, winograd
from .program.beside import compile_beside

KERNELS = [
    pool.spread_mean,
    channels.part_gradient_sums,
    channels.finish_gradients,
    channels.combine,
    filter_gradient.transform_tiles,
    filter_gradient.add_products,
    repack.untransform_gradient,
    winograd.winograd4,
    filter_gradient.pad_images,
    filter_gradient.pixel_gradient,
    repack.unpack_gradient,
    pointwise.interleave,
    pointwise.spread_pixels,
    slide_gradient.slide_gradient,
    slide_gradient.add_parts,
    activation.total,
    pool.unpool,
]


def compile_pullbacks() -> None:
    """Begin to compile them in another process, where they have not been: a training step's value comes first."""
    compile_beside(KERNELS)
