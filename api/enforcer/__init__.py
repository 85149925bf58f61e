"""The enforcer: the one privileged process, which changes the kernel on behalf of the API, and trusts nothing that it is told."""
