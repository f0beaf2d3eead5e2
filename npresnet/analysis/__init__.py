"""What a model holds and what it costs: summaries, features, Grad-CAM, differences of dialects."""
