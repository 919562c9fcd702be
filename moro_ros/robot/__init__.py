"""The robot near the people: its collision geometry, and the distances between the two."""
