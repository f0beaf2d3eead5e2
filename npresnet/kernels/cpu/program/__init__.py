"""A whole network in one call: a thread pool, and the entry points of the kernels that it runs."""
