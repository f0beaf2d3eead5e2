"""Finds a ResNet in arrays of any names, by their shapes and by the company that they keep."""
