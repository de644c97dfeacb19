"""World models of biology behind one column contract. Importing this package imports nothing."""
