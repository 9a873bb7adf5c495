"""What is measured: each function prepares one piece of work, and gives what does it."""
