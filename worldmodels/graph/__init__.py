"""Knowledge graphs and the gene features that they give."""
