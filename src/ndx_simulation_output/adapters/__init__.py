"""One format or simulator each: ``read`` describes what it left behind, ``write`` gives it back."""
