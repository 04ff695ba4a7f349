"""Training: one loop (`loop`), the expert (`expert`) and the generator (`generator`)."""
