"""Pure sound: codecs, resamplers, framing, levels, files, and the clock of what the caller has heard."""
