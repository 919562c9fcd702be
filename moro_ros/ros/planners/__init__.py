"""Outputs for planners: collision geometry, obstacles for navigation, intent cues."""
