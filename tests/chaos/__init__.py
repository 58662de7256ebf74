"""The real roles as processes, killed, cut off and fed with bad input: nothing may be lost, nothing written twice."""
