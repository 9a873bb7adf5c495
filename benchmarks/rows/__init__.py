"""What is claimed: each module measures some rows of the results."""
