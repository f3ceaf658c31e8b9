"""Tables, from metrics alone."""
