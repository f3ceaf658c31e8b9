"""What `lacuna ...` and the Makefile run."""
