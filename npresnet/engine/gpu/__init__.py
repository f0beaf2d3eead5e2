"""The engine on a GPU: fused steps, the fastest measured, recorded as one CUDA graph."""
