"""Training: SyncNet (`syncnet`) and the generator (`generator`) in one loop (`engine`)."""
