"""The experiment: its file, its grid, and what is known of it before the first job. Imports no torch."""
