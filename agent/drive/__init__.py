"""What drivers share: the one clock and its wake-ups, sockets with a bounded queue, and tasks that have an owner."""
