"""What the notebooks use: plots, figures with controls, self-checking exercises, photos, the depth experiment."""
