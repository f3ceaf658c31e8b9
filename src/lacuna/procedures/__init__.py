"""What goes around a method: un-pruning, tuning, shadow models."""
