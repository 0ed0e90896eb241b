"""The Stripe connector: raw events of any API version in, canonical events out."""
