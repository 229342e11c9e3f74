"""docs/errors.md: `python -m api.errors_page > docs/errors.md`."""

from api.error_codes import error_codes

HEAD = """# Error codes

Written by `python -m api.errors_page`; do not edit.
What the API refuses is answered with problem+json (RFC 9457): `code` is one of these and stable, `detail` says in words
what is wrong and what to do, `errors` names single fields, and `type` leads to this list on the service itself. Failed
items of jobs and the metric `umbel_item_failures_total` have the same codes. Answers of `429` and `503`, and
`not_embedded`, say in `Retry-After` when to call again. A few come from commands only, such as `backup` and
`bad_dataset`.

| status | code | when |
|---|---|---|
"""


def described() -> str:
    """docs/errors.md."""
    return HEAD + "".join(f"| `{status}` | `{code}` | {meaning} |\n" for status, code, meaning in error_codes())


if __name__ == "__main__":
    print(described(), end="")
