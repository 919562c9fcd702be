"""Files: videos, calibrations, recordings."""
