"""The simulation: the real session on the paper exchange in one process, in virtual time, with faults, all from one seed."""
