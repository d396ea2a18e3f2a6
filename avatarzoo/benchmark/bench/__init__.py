"""Train and score a list of recipes under equal conditions: suites, jobs, and what runs them."""
