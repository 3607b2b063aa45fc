"""HTTP with a data holder: requests, origins, retries and bodies, on httpx."""
