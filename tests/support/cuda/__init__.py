"""A stand-in for a GPU: its kernels run as C++ on the host."""
