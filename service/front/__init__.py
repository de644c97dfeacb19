"""Front ends: they translate between a wire and the pipeline and hold no logic."""
