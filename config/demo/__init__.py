"""Data to try the product with: people of our own making, and a public data set."""
