"""Who may: users and what lets them in, and who a request is from."""
