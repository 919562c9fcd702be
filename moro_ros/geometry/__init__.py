"""Rotations, cameras and trajectories: pure functions on tensors."""
