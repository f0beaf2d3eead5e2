"""The engine on a GPU: fused steps, each by the algorithm measured to be the fastest, recorded as one CUDA graph."""
