"""The ECS operations: one short function each."""
