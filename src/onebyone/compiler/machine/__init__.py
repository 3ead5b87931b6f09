"""How fast this machine is: measured once, kept, and what all choices rest on."""
