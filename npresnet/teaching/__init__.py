"""What the notebooks use: plots, exercises that check themselves, the depth experiment, networks that fail."""
