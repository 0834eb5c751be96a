"""What the program tests share: the relay under test and the servers around it, all on loopback."""
