"""The simulated photonic co-processor: accuracy, cost, theory."""
