"""What compression is compared with that the product does not ship: gradient-boosted trees, single weights at
zero, and a larger network."""
