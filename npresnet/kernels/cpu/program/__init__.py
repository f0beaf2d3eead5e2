"""A whole network in one call: the thread pool and the entry points of the kernels that it runs."""
