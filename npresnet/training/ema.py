"""An exponential moving average of the weights: smoother than the last step, free at the time of use.

[P] Polyak & Juditsky 1992, Acceleration of stochastic approximation by averaging
"""


class Average:
    """ā ← d ā + (1 − d) a  for every floating-point array a of a model, running statistics included.

    While few steps have been made d is (1 + t)/(10 + t), so that the initial weights are soon forgotten.
    """

    def __init__(self, model, decay):
        self.decay, self.steps = decay, 0
        self.arrays = model.state_dict()

    def update(self, model):
        self.steps += 1
        d = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for key, box in model.named_arrays():
            a = box.value
            self.arrays[key] = d * self.arrays[key] + (1 - d) * a if a.dtype.kind == "f" else a

    def model(self, model):
        """A twin of ``model`` that holds the averages."""
        twin = model.copy()
        for key, box in twin.named_arrays():
            box.value = self.arrays[key]
        return twin
