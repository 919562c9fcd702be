"""The body model (SMPL-X file format), its mesh topology and the fit of its parameters."""
