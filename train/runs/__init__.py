"""What every kind of run has: a folder, settings that were checked, rows, checkpoints, curves."""
