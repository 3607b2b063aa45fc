"""Pictures made of geometry and seeded noise, for what ships in no package."""
