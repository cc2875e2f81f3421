"""The process and its machine: settings, devices, distributed runs, and what users are told."""
