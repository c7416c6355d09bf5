"""Running a model in a process of its own, which may do little but compute. See docs/concepts/isolation.md."""
