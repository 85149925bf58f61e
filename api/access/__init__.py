"""Who may do what: tokens and their scopes, rates and sizes of requests, and the record of who changed what."""
