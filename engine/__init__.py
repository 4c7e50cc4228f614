"""What ECS means, as pure functions: state, messages, `decide(state, message, now)`, effects, errors.

Nothing here awaits, reads a clock, draws a random number or touches the world.
"""
