"""What lessons use: plots, exercises with hints, the depth experiment, networks that fail."""
