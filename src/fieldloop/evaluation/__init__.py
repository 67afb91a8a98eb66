"""Is a model better than the one in use: answers of a model file, and the gate that compares them."""
