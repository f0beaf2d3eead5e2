"""What every network of the family is: a chain that ends in scores, or in their softmax."""

from ..nn import Chain, Softmax


class Classifier(Chain):
    """A chain of ``features_and_scores()``, then a softmax where the dialect ends in probabilities.

    ``unread`` names the dialect's details that such a network has no place for, ``stems`` the stems it can begin with;
    :func:`build` refuses the others.
    """

    unread: frozenset[str] = frozenset()
    stems: tuple[str, ...] = ("7x7",)

    def finish(self, dialect):
        """Assign the last layer: a softmax, or nothing."""
        self.softmax = Softmax() if dialect.softmax else None

    def features_and_scores(self):
        """The parts up to the scores, in the order they run."""
        raise NotImplementedError

    def layers(self):
        return self.features_and_scores() if self.softmax is None else (*self.features_and_scores(), self.softmax)
