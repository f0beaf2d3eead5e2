"""An exponential moving average (EMA) of the weights, whose predictions are steadier than the last step's.

[P] Polyak & Juditsky 1992, Acceleration of stochastic approximation by averaging
"""

from ..backend import Array
from ..nn import Module


class EMA:
    """ā ← d ā + (1 − d) a  for every floating-point array a of a model, running statistics included.

    d is the smaller of ``decay`` and (1 + t)/(10 + t) in step t, so that the initial weights are soon forgotten.
    Arrays of integers are copied as they are.
    """

    arrays: dict[str, Array]  # the averages, by the model's keys

    def __init__(self, model: Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.arrays = model.state_dict()

    def update(self, model: Module) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        d = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for key, parameter in model.named_arrays():
            a = parameter.value
            self.arrays[key] = d * self.arrays[key] + (1 - d) * a if a.dtype.kind == "f" else a

    def model(self, model: Module) -> Module:
        """A copy of ``model`` whose arrays are the averages."""
        averaged = model.copy()
        for key, parameter in averaged.named_arrays():
            parameter.value = self.arrays[key]
        return averaged
