"""What goes in and out over HTTP, with its limits: one module a resource. OpenAPI is generated from these."""
