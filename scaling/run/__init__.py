"""Runs a plan; import its files by name, since a trial's process is to start light."""

import common.interpreter
