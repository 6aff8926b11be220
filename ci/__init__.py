"""Programs of the continuous checks; each can be run by hand."""
