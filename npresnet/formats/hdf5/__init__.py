"""HDF5 without any library: the file's structure, its objects, their attributes."""
