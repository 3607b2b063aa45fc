"""The synthetic data of the sandbox: participants, Medicare claims and imaging studies.

Everything is generated from a seed or ships with pydicom, so every run has the same data.
"""
