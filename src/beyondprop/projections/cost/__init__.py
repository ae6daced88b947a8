"""The cost of projections, and the choice of one."""
