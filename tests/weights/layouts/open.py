"""Kinds that do not pass yet, each with the reason.  A row that passes must leave (the tests are strict)."""

OPEN: dict[str, str] = {
    "order: convs, norms and projections in lists of their own": "refused: which projection is whose, no name says",
}
