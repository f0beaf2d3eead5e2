"""Speed and memory beside those of other libraries."""
