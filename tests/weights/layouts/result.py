"""What loading one kind of file gives, in words; anything but what is right for it raises AssertionError."""

import re
from pathlib import Path

import numpy as np

from npresnet import load_model
from npresnet.weights import WeightsError

from .kind import Kind

TOLERANCE = 1e-4


def result(kind: Kind, folder: Path) -> str:
    """The result of loading a file of this kind, for the table."""
    layout = kind.make(folder)
    path = layout.write(folder)
    try:
        model = load_model(path)
    except WeightsError as error:
        told = str(error).replace(f"{folder}/", "")
        assert layout.refusal, f"refused: {told}"
        assert re.search(layout.refusal, told), f"refused in other words than {layout.refusal!r}: {told}"
        assert "\n" not in told, f"more than one line: {told}"
        return f"refused: {told}"
    except Exception as error:
        raise AssertionError(f"a traceback instead of one line: {type(error).__name__}: {error}") from error
    assert layout.net is not None, f"SILENTLY loaded, not refused: {model.spec} {model.notes}"
    expected = layout.answer()
    try:
        ours = model(layout.image()) if layout.features else model.logits(layout.image())
    except ValueError as error:
        raise AssertionError(f"loaded, and cannot answer: {error}") from None
    assert ours.shape == expected.shape, f"{ours.shape} logits, not {expected.shape}: {model.spec}"
    assert expected.size == 1 or expected.std() > 1e-3 * abs(expected).max(), "logits that tell nothing apart"
    off = float(np.abs(ours - expected).max() / np.abs(expected).max())
    doubt = next((note for note in model.notes if layout.doubt and re.search(layout.doubt, note)), None)
    if off >= TOLERANCE and doubt:
        return f"the commoner network's logits; noted: {doubt}"
    assert off < TOLERANCE, f"SILENTLY other logits, off by {off:.1e} of the largest: {model.spec}, {model.notes}"
    what = "pooled features" if layout.features else "logits"
    if not layout.note:
        return f"right {what}"
    note = next((note for note in model.notes if re.search(layout.note, note)), None)
    assert note, f"right {what}, but no note matches {layout.note!r}: {model.notes}"
    return f"right {what}; noted: {note}"
