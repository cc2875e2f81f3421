"""The process and its machine: settings, devices, hosts, and what is told to the user."""
