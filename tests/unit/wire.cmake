mg_test(skim LIBS mg_wire)
mg_test(wire LIBS mg_wire)
mg_test(digest LIBS mg_wire)
