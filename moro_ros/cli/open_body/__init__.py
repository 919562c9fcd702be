"""`moro make-body`: generation of the open body model."""
