"""What `ndp` can be asked for."""
