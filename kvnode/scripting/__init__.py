"""Scripts: the only importer of lupa."""
