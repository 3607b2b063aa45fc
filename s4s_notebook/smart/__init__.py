"""SMART on FHIR: discovery, registration, sign-in, tokens and where they are stored."""
