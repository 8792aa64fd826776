"""The published models as data: what each changed, its shape, its parameters as published and as counted."""
