"""What each part of the network brings."""
