"""What compression is compared with that the product does not ship: gradient-boosted trees, and a larger network."""
