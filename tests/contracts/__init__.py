"""What every entry of a registry must fulfil."""
