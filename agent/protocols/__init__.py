"""Wire languages as classes without I/O: messages in, events out; commands in, messages out."""
