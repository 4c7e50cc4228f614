"""The admin server: health, metrics and the actor inspector."""
