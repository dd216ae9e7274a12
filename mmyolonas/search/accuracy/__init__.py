"""What an architecture is worth."""
