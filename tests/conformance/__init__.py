"""Does kvnode answer as Redis does?

- transcripts/: commands and the replies a redis-server gave, replayed by test_transcripts.py;
  transcript.py describes the notation, record.py records, COMPATIBILITY.md lists the exceptions.
- test_differential.py: random scripts on a redis-server and on kvnode; KVNODE_CONFORMANCE_EXAMPLES
  sets how many.
- test_model.py, test_local_node.py: the same scripts on the model of tests/support/model.py, and
  on a node without sockets whose time moves and whose memory is emptied as the script says.
- test_checkers.py: faulty servers that each comparer must notice.
"""
