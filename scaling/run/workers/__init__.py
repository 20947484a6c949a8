"""The processes that train a sweep: workers, the devices they own, a process for each trial."""
