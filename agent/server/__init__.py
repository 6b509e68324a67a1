"""The composition root: the only room that knows concrete classes, and the only one that faces the network."""
