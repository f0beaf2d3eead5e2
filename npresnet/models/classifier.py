"""What every network of the family is: a chain that ends in scores, or in their softmax."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..nn import Chain, Conv2d, Identity, Linear, Module, Softmax
from .dialects import Dialect
from .spec import Spec

NO_CLASSIFIER = (
    "this network has no classifier and gives features, model(x); create_model(name, num_classes=…) adds one"
)

RESIDUAL = frozenset(  # details that only the blocks of [R1] have a place for
    {"antialias", "attention", "avg_down", "branch_activation", "relu_before_sum", "squeeze", "squeeze_ratio"}
)


class Classifier(Chain):
    """A chain of ``features_and_scores()``, then a softmax where the dialect ends in probabilities.

    ``unread`` names the dialect's details that such a network has no place for, ``stems`` the stems it can begin with;
    :func:`build` refuses the others.
    """

    unread: frozenset[str] = frozenset()
    stems: tuple[str, ...] = ("7x7",)
    before = False  # whether norms stand before their convolutions

    built: Spec  # set by build(), as are
    preprocessing: Any  # a preset's name, or a Preprocessing
    classes: Sequence[str] | None  # the names of the classes, None until weights bring some
    notes: list[str]  # what a file left open (set by load_model)

    conv1: Module
    layer1: Any  # the stages
    layer2: Any
    layer3: Any
    maxpool: Module | None
    fc: Any  # a Linear, or what was put in its place
    softmax: Module | None

    @property
    def spec(self) -> Spec:
        """How it was built, with as many classes and input channels as its layers have by now."""
        if "built" not in vars(self):
            raise AttributeError("this network was not built by name, so it has no spec")
        head = [part for part in self.fc.modules() if isinstance(part, Linear)]
        stem = next((part for part in self.modules() if isinstance(part, Conv2d)), None)
        classes = len(head[-1].weight.value) if head else self.built.num_classes
        channels = stem.weight.value.shape[1] * stem.groups if stem else self.built.in_channels
        return replace(self.built, num_classes=classes, in_channels=channels)

    @spec.setter
    def spec(self, spec: Spec) -> None:
        self.built = spec

    def finish(self, dialect: Dialect) -> None:
        """Assign the last layer: a softmax, or nothing."""
        self.softmax = Softmax() if dialect.softmax and isinstance(self.fc, Linear) else None

    @staticmethod
    def head(features: int, num_classes: int) -> Module:
        """The classifier, or what lets the pooled features through where there are no classes."""
        return Linear(features, num_classes) if num_classes else Identity()

    def scoring(self) -> Chain:
        """The chain up to the scores; ValueError where there are none."""
        if "built" in vars(self) and self.spec.num_classes == 0:
            raise ValueError(NO_CLASSIFIER)
        return super().scoring()

    def pool(self) -> tuple[Module, ...]:
        """The stem's pooling, if there is one."""
        return () if self.maxpool is None else (self.maxpool,)

    def stages(self) -> tuple[Module, ...]:
        """layer1, layer2 …"""
        return tuple(part for name, part in self.children().items() if name.startswith("layer"))

    def features_and_scores(self) -> tuple[Module, ...]:
        """The parts up to the scores, in the order they run."""
        raise NotImplementedError

    def layers(self) -> tuple[Module, ...]:
        return self.features_and_scores() if self.softmax is None else (*self.features_and_scores(), self.softmax)
