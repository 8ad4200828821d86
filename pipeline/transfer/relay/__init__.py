"""The relay: from the Hub over this machine's disk to the training host, in batches, on two lanes."""
