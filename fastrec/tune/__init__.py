"""Search over what training leaves open, on the same split for every trial."""
