"""Drawing: bodies over images, charts."""
