"""The verbs of the command line, one a module; what is slow to import is imported by the verb that needs it."""
