"""`moro bench`: cost of network, live decoding, messages and an idle node."""
