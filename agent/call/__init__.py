"""The call: one pure machine between a line and a model, and the driver that runs it."""
