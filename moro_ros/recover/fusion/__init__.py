"""Fuses the observations of several calibrated cameras into one motion per person."""
