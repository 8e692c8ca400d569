"""Fine-tuning: supervised and by preference, with adapters or in full."""
