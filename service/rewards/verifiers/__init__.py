"""One verifier per file: what it asks of a world model and how it scores the answer."""
