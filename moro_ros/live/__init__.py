"""From observations to body motion: preprocessing, masked decoding, windows and streams."""
