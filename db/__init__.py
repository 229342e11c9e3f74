"""Tables, sessions and every SQL statement of the project: one module a table or question."""
