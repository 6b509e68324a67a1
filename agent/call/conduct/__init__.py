"""What a call does about what happens to it, one file for each side of it."""
