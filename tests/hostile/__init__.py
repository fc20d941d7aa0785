"""Those who mean us no good: clients, providers and agents."""
