"""What Pickup is told from outside: the environment's settings and the agents' files, checked and frozen."""
