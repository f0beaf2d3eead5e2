"""--backend: what computes, and where."""

from contextlib import nullcontext

CHOICES = ("numpy", "numba", "cupy")


def add_backend_argument(parser, default="what is fastest here, without a GPU"):
    parser.add_argument("--backend", choices=CHOICES, metavar="NAME",
                        help=f"what computes: numpy (the reference), numba or cupy, a GPU (default: {default})")


def computing(backend):
    """The context of a backend; one line where it cannot be used here."""
    from ..backend import gpu, use
    if backend == "cupy":
        gpu()
    return use(backend) if backend in ("numpy", "numba") else nullcontext()


def placed(backend, *things):
    """Models and arrays where the backend computes."""
    from ..backend import to_device
    return tuple(to_device(thing, "cuda") for thing in things) if backend == "cupy" else things


def on_cpu(command, backend):
    """For a command that measures in float64 on the CPU: one line for who wants it on a GPU."""
    if backend == "cupy":
        raise ValueError(f"{command} computes in float64 on the CPU: choose --backend numpy or numba")
    return computing(backend)
