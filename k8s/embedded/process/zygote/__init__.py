"""The program that forks keepers, and the keepers, which own the pods: many copies of it live at once.

So that a copy costs little (fork time and pages touched), these modules import only built-in and C modules where the
standard library's Python ones would do as well (`_socket` for `socket`, `_signal` for `signal`), and nothing else. They
must not import the rest of the driver. A test on `sys.modules` holds this.
"""
