"""Values that an argument cannot have, and whether an error says so."""

import numpy as np


def full(*shape):
    return np.ones(shape, np.float32)


NOT_SIZES = (0, -1, 2**31, 2.0, 0.5, None, "2", True, np.array([2, 2]), (1, 2, 3), (2, 1.5), (0, 1), {}, float("nan"))
NOT_PADDINGS = (
    -1,
    2**31,
    0.5,
    None,
    "sane",
    "SAME",
    "",
    True,
    (1, -1),
    ((0, 1), (2, -1)),
    (1, 2, 3),
    ((1, 2, 3), 0),
    np.ones(2),
)
NOT_NUMBERS = ("1e-5", None, float("nan"), float("inf"), -float("inf"), True, [0.1], np.array(0.1), 1j)
NOT_FLAGS = (1, "yes", None, 0.0)
NOT_ARRAYS = (None, 1.0, "x", [[1.0]])
NOT_GROUPS = (0, -1, 2.0, None, "2", True, (1, 1))
NOT_COUNTS = (-1, 1.5, None, "1", True)


def spoken(error, name):
    """Whether an error is one line of ours that names the argument."""
    text = str(error)
    return type(error) in (ValueError, TypeError) and "\n" not in text and name in text and "npresnet" in origin(error)


def origin(error):
    at = error.__traceback__
    while at.tb_next:
        at = at.tb_next
    return at.tb_frame.f_code.co_filename


def unspoken(table):
    """Of (function, name of an argument, wrong values for it) those calls that do not end in such an error."""
    found = []
    for function, name, value in ((function, name, value) for function, name, values in table for value in values):
        try:
            function(**{name: value})
            found.append((getattr(function, "func", function).__name__, name, value, "taken"))
        except Exception as error:
            if not spoken(error, name):
                found.append((getattr(function, "func", function).__name__, name, value, repr(error)))
    return found
