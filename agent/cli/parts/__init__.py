"""What several commands share, and what one command is too long for."""
