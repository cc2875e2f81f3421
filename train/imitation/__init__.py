"""Learning from examples: digits and strokes, demonstrations and their clones."""
