"""What tests share and what stands in for other things; no test."""
