"""Answers of the API, typed: one module a resource. Fields that a newer API adds are ignored."""
