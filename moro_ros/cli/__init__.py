"""Command line, asset generation and rendering."""
