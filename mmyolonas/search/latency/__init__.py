"""What an architecture costs on a device."""
