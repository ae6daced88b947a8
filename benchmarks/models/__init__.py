"""What the rules teach models that others wrote, and models as people commonly write them."""
