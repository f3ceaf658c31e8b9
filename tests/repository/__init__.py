"""What holds of the repository itself."""
