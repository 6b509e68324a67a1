"""What the agent can do: one file per tool, and the box that runs them beside the conversation."""
