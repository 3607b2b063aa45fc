"""FHIR STU3 and R4: search, Bundles, and what imaging resources refer to."""
