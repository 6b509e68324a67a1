"""Calls over SIP, as far as they can be decided without a socket: addresses, endings, what of our sound was played."""
