"""Everything that runs: the learners, whole runs and sweeps of them, and the `ndp` command."""
