"""Instructions per operation of the data plane, without sockets, disk or clock."""
