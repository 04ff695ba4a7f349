"""What the data promise before a training starts."""
