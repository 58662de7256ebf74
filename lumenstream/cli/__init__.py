"""The command line: the composition root. It alone knows every room, and imports a room only when a command needs it."""
