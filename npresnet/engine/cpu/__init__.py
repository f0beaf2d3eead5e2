"""The engine on a CPU: a plan of fused steps, run by a thread pool in one call."""
