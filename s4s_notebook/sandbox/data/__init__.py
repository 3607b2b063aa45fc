"""The synthetic participants of the sandbox, their claims and their imaging studies."""
