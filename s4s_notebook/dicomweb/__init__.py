"""DICOMweb: WADO-RS to retrieve images, QIDO-RS to list instances."""
