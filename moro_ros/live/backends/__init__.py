"""Backends for the network of a live stream: PyTorch, ONNX Runtime, CUDA graphs."""
