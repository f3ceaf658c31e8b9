"""Files: how they are written and read, what vouches for them, and what they say of their making."""
