"""Models of what perturbing a gene does to the expression of others."""
