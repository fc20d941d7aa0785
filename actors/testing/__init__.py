"""Public fakes and fault injectors, for users' tests as for ours."""
