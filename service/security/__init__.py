"""Who may ask, how much, and over what: keys, limits, certificates, connections."""
