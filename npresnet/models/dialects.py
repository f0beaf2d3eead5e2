"""The published ResNets differ in details that silently change the numbers.  A dialect names them all.

Every field is one such detail; ``create_model(name, field=value)`` changes one, ``dialect=`` all.
"""

from dataclasses import dataclass, fields, replace

from ..nn import BatchNorm2d, Conv2d


@dataclass(frozen=True)
class Dialect:
    """How one published implementation builds its layers.  The defaults are torchvision's."""

    name: str = "torchvision"
    stride_on: str = "3x3"    # what downsamples in a bottleneck: the "3x3" ("v1.5") or the first "1x1" (v1)
    shortcut: str = "B"       # "A" centred zeros, "A-appended", "B" projection where shapes change, "C" everywhere
    conv_bias: bool = False   # convolutions before a batch norm have a bias
    eps: float = 1e-5         # added to every variance
    momentum: float = 0.1     # weight of the new batch in the running statistics
    unbiased: bool = True     # the running variance is m/(m−1) times the batch's

    def __post_init__(self):
        for field, allowed in (("stride_on", ("3x3", "1x1")), ("shortcut", ("A", "A-appended", "B", "C"))):
            if getattr(self, field) not in allowed:
                raise ValueError(f"{field}={getattr(self, field)!r}: use one of {', '.join(map(repr, allowed))}")

    def conv(self, channels, filters, kernel, stride=1, groups=1):
        """A convolution padded so that it keeps the size of an image at stride 1."""
        return Conv2d(channels, filters, kernel, stride, padding=kernel // 2, groups=groups, bias=self.conv_bias)

    def norm(self, channels):
        return BatchNorm2d(channels, self.eps, self.momentum, self.unbiased)

    def but(self, **options):
        """This dialect with some details changed."""
        known = [field.name for field in fields(self) if field.name != "name"]
        unknown = sorted(options.keys() - set(known))
        if unknown:
            raise ValueError(f"unknown option(s) {', '.join(unknown)}; known: {', '.join(known)}")
        return replace(self, **options)


DIALECTS = {d.name: d for d in (
    Dialect(),
    Dialect("paper", stride_on="1x1"),
)}
