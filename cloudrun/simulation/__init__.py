"""The simulation: the real session on the paper exchange in one process, in virtual time, with faults, all from one seed.

loop.py        simulated time                                process.py     kills and stops at any await and port call
network.py     HTTP with faults, under the real ccxt         bans.py        who was told to wait, and until when
link.py        one stream connection with faults             streams.py     market and user streams on such links
venue.py       the paper exchange's desk in this process     ports.py       the ports of one process, behind gates
faults.py      what fails, and when; chances.py by chance    market.py      bars with jumps, gaps and frozen stretches
analyst.py     opinions by lot, so that orders take the time sessions.py    trader, schedule and loop as programs
world.py       one seed's world; supervisor.py restarts      acts.py        what happens in it besides the processes
invariants.py  what must hold always; rest.py at the end     exposure.py    stops in time, positions as decided
liveness.py    a book that could trade does                  outages.py     what excuses that it does not
seeds.py       seed -> world; spec.py what one is made of    scenarios/     every failure by name, with its own checks
runner.py      many seeds on all processors; soak.py days    report.py      docs/reliability.md; long_runs.py its figures
"""
