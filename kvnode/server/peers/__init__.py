"""Links between the nodes of a group: who is there, and what goes back and forth."""
