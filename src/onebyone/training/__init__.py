"""Training the zoo's networks, and a user's own."""
