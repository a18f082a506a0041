mg_test(replica LIBS mg_agent)
mg_test(agent LIBS mg_agent)
mg_test(words LIBS mg_agent)
mg_test(local LIBS mg_agent)
