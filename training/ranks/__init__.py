"""The processes of one run, their meetings and their failures."""
