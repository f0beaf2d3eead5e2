"""The gradient of a batch that ranks share: the sum of theirs, begun while their pullbacks still run.

Parameters stand in buckets, the last layers' first, as their gradients come.  As soon as all gradients of a bucket are
final, they are copied side by side into one array, whose sum over the ranks is started; the pullback goes on meanwhile.
So few large sums are made, and most of their time is hidden.

[L] Li et al. 2020, PyTorch Distributed: experiences on accelerating data parallel training, arXiv:2006.15704, §3.2
"""

from collections import Counter
from contextlib import AbstractContextManager

from ..backend import Array, array_namespace, between_launches
from ..distributed import Communicator, Pending
from ..nn import Module, Parameter
from ..nn.module import gradients_reported_to

BYTES = 2**22  # in a bucket
HALF, SCALE = "float16", 1024.0  # of gradients that are sent in 16 bits: those from 6e-11 to 64 keep ten bits or some


class Bucket:
    """Parameters whose gradients are summed together."""

    def __init__(self, parameters: list[Parameter], uses: Counter[int], half: bool = False) -> None:
        self.parameters, self.uses, self.half = parameters, uses, half
        self.flat: Array | None = None
        self.parts: list[Array] = []
        self.pending: Pending | None = None
        self.begin()

    def begin(self) -> None:
        """Before a pullback: no gradient has come."""
        self.missing = {id(parameter): self.uses[id(parameter)] for parameter in self.parameters}
        self.pending = None

    def start(self, gradients: list[Array], communicator: Communicator) -> None:
        """Copy the gradients side by side and begin to sum them."""
        flat = self.flat if self.flat is not None else self.make(gradients)
        for part, gradient in zip(self.parts, gradients):
            part[...] = gradient * SCALE if self.half else gradient
        self.pending = communicator.start_all_reduce(flat)

    def make(self, gradients: list[Array]) -> Array:
        """The array that takes such gradients; its ``parts`` are views of it with their shapes."""
        xp, stop = array_namespace(*gradients), 0
        dtype = HALF if self.half else gradients[0].dtype
        self.flat = flat = xp.empty(sum(gradient.size for gradient in gradients), dtype)
        for gradient in gradients:
            start, stop = stop, stop + gradient.size
            self.parts.append(flat[start:stop].reshape(gradient.shape))
        return flat


class GradientSums:
    """Sums the gradients of a model's trainable parameters over the ranks of ``communicator``.

    ``with sums.during_pullback(): pullback(dy)`` starts each bucket's sum as soon as it can; ``finish()`` starts the
    rest, waits, and puts the sums, which hold until the next pullback, in the gradients' place.  With ``half`` they are
    sent, and added, in float16.
    """

    def __init__(self, model: Module, communicator: Communicator, size: int = BYTES, half: bool = False) -> None:
        uses = Counter(id(array) for _, array in model.named_arrays() if isinstance(array, Parameter))
        self.communicator, self.buckets = communicator, list[Bucket]()
        members: list[Parameter] = []
        for parameter in reversed([parameter for parameter in model.parameters() if parameter.trainable]):
            members.append(parameter)
            if sum(member.value.nbytes for member in members) >= size:
                self.buckets.append(Bucket(members, uses, half))
                members = []
        self.buckets += [Bucket(members, uses, half)] if members else []
        self.bucket_of = {id(parameter): bucket for bucket in self.buckets for parameter in bucket.parameters}
        self.started = 0

    @property
    def bytes(self) -> int:
        """Of all gradients."""
        return sum(parameter.value.nbytes for bucket in self.buckets for parameter in bucket.parameters)

    def begin(self) -> None:
        """Before a step."""
        self.started = 0
        for bucket in self.buckets:
            bucket.begin()

    def during_pullback(self) -> AbstractContextManager[None]:
        """A context in which the sum of a bucket is started as soon as its gradients are final."""
        return gradients_reported_to(self.came)

    def came(self, parameter: Parameter) -> None:
        """A parameter has got its gradient: start what is complete, in the buckets' order, as on every rank."""
        bucket = self.bucket_of.get(id(parameter))
        if bucket is None:
            return
        if bucket.pending and not bucket.missing[id(parameter)]:  # a pullback that was given up begins again
            bucket.pending.wait()
            bucket.pending = None  # finish() will sum what there is then
        bucket.missing[id(parameter)] -= 1
        while self.started < len(self.buckets) and not any(self.buckets[self.started].missing.values()):
            self.start_next()

    def start_next(self) -> None:
        """Start the sum of the next bucket; in a recorded step, whenever it runs again."""
        bucket = self.buckets[self.started]
        gradients = [gradient_of(parameter) for parameter in bucket.parameters]
        self.started += 1

        def start() -> None:
            bucket.start(gradients, self.communicator)

        between_launches(start)

    def finish(self) -> None:
        """Start what has not been, wait for all sums, and let the parameters' gradients be the sums."""
        for bucket in self.buckets:
            if bucket.pending is None:
                bucket.start([gradient_of(parameter) for parameter in bucket.parameters], self.communicator)
        for bucket in self.buckets:
            assert bucket.pending is not None
            bucket.pending.wait()
            for parameter, part in zip(bucket.parameters, bucket.parts):
                parameter.grad = part.astype(parameter.value.dtype) / SCALE if bucket.half else part


def gradient_of(parameter: Parameter) -> Array:
    """A parameter's gradient; zeros where it has none, as it may on a rank without images."""
    if parameter.grad is not None:
        return parameter.grad
    return array_namespace(parameter.value).zeros_like(parameter.value)
