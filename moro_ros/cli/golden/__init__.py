"""`moro verify-golden`: recorded outputs of the reference network against ours."""
