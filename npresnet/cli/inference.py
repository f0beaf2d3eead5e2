"""Which code computes the scores: the reference for a few images, the engine for many.

The reference answers at once.  The engine is five to fifty times as fast an image, but it first arranges the weights
in the order it reads them, and compiles its kernels where this machine has never done so.
"""

from ..printer import note

MANY, MANY_UNCOMPILED = 24, 256     # images from which on the engine is the faster road, all in all


def scores(model, images: int, backend=None):
    """x -> scores (N, K) of ``model``, by ``backend`` or else by the road that is faster for so many images.

    A line on standard error says where that compiles.
    """
    check_choice(model)
    if backend:
        return reference(model) if backend == "numpy" else fast(model, backend)
    from ..backend import without_numba
    if images < MANY or without_numba():
        return reference(model)
    from ..engine import compiled, optimize
    if not compiled() and images < MANY_UNCOMPILED:
        return reference(model)
    if not compiled():
        note("compiling the kernels for this machine: about 15 seconds, once")
    return optimize(model).logits


def check_choice(model):
    """Raise ValueError for a model of one class: a softmax over one score is 1, whatever the image."""
    if model.spec.num_classes == 1:
        raise ValueError("this model has a single score, which its softmax turns into 100 % for any image; "
                         "read the score itself with npresnet.load_model(file).logits(x)")


def fast(model, backend):
    """The engine on the CPU or on a GPU, with images and scores on the CPU."""
    from ..backend import to_device
    from ..engine import optimize
    from .backends import placed
    engine = optimize(*placed(backend, model))
    return lambda x: to_device(engine.logits(*placed(backend, x)), "cpu")


def reference(model):
    """The model itself, in NumPy: loading the compiler would take longer than an image does."""
    from ..backend import use

    def run(x):
        with use("numpy"):
            return model.logits(x)

    return run
