// Lets brackets.go declare functions without bodies.
