"""Learning rate schedules: functions (step, total) → the share of the peak rate, for step 0 … total − 1.

[R1] He et al. 2015, arXiv:1512.03385, §4.2
[LH] Loshchilov & Hutter 2017, SGDR, arXiv:1608.03983, Eq. 5
[ST] Smith & Topin 2017, Super-convergence, arXiv:1708.07120
"""

from math import cos, pi


def constant(step: int, total: int) -> float:
    """The peak rate throughout."""
    return 1.0


def steps(step: int, total: int, milestones: tuple[float, ...] = (0.5, 0.75), factor: float = 0.1) -> float:
    """Divided by ten after each milestone, a share of the training: 32k and 48k of 64k iterations in [R1]."""
    return factor ** sum(step >= milestone * total for milestone in milestones)


def thirds(step: int, total: int) -> float:
    """Divided by ten after each third of the training, as torchvision does every 30 of 90 epochs."""
    return steps(step, total, (1 / 3, 2 / 3))


def quarters(step: int, total: int) -> float:
    """Divided by ten after each quarter of the training."""
    return steps(step, total, (0.25, 0.5, 0.75))


def cosine(step: int, total: int) -> float:
    """½ (1 + cos(π · step/total))                                                               [LH] Eq. 5"""
    return (1 + cos(pi * step / total)) / 2


def one_cycle(step: int, total: int, rise: float = 0.3, start: float = 1 / 25, end: float = 1 / 250_000) -> float:
    """Up from ``start`` to 1 during a share ``rise`` of the training, then down to ``end``, on two half cosines.

    [ST] rises and falls on straight lines; the cosines are PyTorch's, as are the numbers.
    """
    top = max(rise * total - 1, 1e-9)
    if step <= top:
        return between(start, 1.0, step / top)
    return between(1.0, end, (step - top) / (total - 1 - top))


def between(a: float, b: float, t: float) -> float:
    """From a at t = 0 to b at t = 1 on half a cosine."""
    return b + (a - b) * (1 + cos(pi * t)) / 2


def warm_up(step: int, length: float, start: float = 0.1) -> float:
    """A further factor: from ``start`` to 1 on a line over the first ``length`` steps."""
    return start + (1 - start) * step / length if step < length else 1.0


SCHEDULES = {
    "constant": constant,
    "steps": steps,
    "thirds": thirds,
    "quarters": quarters,
    "cosine": cosine,
    "one-cycle": one_cycle,
}
