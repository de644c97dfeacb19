"""Models built from expression matrices."""
