"""The loop that every training and every unlearning by a loss runs in, and its recipes."""
