"""Kinds that do not pass yet, each with the reason.  A row that passes must leave (the tests are strict)."""

OPEN: dict[str, str] = {
    "order: convs, norms and projections in lists of their own": "refused: which projection is whose, no name says",
    "HDF5 written by h5py, a dataset for each name": "refused: holds no arrays; Keras's layout alone is read",
}
