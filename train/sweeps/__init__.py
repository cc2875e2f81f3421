"""Many settings and seeds: what they are, training them, tables and figures."""
