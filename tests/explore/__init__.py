"""The page to look inside a network."""
