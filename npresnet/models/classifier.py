"""What every network of the family is: a chain that ends in scores, or in their softmax."""

from dataclasses import replace
from typing import Any

from ..nn import Chain, Conv2d, Linear, Softmax


class Classifier(Chain):
    """A chain of ``features_and_scores()``, then a softmax where the dialect ends in probabilities.

    ``unread`` names the dialect's details that such a network has no place for, ``stems`` the stems it can begin with;
    :func:`build` refuses the others.
    """

    unread: frozenset[str] = frozenset()
    stems: tuple[str, ...] = ("7x7",)
    final_norm = False            # whether a batch norm follows the last block

    preprocessing: Any            # a preset's name or a Preprocessing; these three are set with the spec or the weights
    classes: Any                  # their names, or None
    notes: list[str]              # of load_model

    @property
    def spec(self):
        """How it was built (a Spec), with as many classes and input channels as its layers have by now."""
        if "built" not in vars(self):
            raise AttributeError("this network was not built by name, so it has no spec")
        head = [part for part in self.fc.modules() if isinstance(part, Linear)]
        stem = next((part for part in self.modules() if isinstance(part, Conv2d)), None)
        classes = len(head[-1].weight.value) if head else self.built.num_classes
        channels = stem.weight.value.shape[1] * stem.groups if stem else self.built.in_channels
        return replace(self.built, num_classes=classes, in_channels=channels)

    @spec.setter
    def spec(self, spec):
        self.built = spec

    def finish(self, dialect):
        """Assign the last layer: a softmax, or nothing."""
        self.softmax = Softmax() if dialect.softmax else None

    def features_and_scores(self):
        """The parts up to the scores, in the order they run."""
        raise NotImplementedError

    def layers(self):
        return self.features_and_scores() if self.softmax is None else (*self.features_and_scores(), self.softmax)
