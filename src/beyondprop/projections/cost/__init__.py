"""What a projection costs, and which one to choose."""
