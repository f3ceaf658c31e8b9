"""What only a model in memory can tell."""
