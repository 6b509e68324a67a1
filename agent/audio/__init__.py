"""Pure sound: codecs, resamplers, framing, levels, files, and the clock of what was heard."""
