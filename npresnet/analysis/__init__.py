"""Looking at a model: what it holds and what it costs."""
