"""The search itself: storage, frontier, verification."""
