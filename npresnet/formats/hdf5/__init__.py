"""HDF5, read without any library: the file's structure, its objects, their attributes."""
