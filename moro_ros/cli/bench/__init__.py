"""`moro bench`: what network, live decoding, messages and an idle node cost."""
