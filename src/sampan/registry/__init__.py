"""Registry client: authentication, fetch, push."""
