"""What the models on torch share: inputs, building blocks, one training loop."""
