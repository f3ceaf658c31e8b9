"""One test module for each module of the library, at the same path."""
