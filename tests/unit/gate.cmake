mg_test(assign LIBS mg_gate)
mg_test(evidence LIBS mg_gate)
mg_test(inventory LIBS mg_gate SOURCES fake_kube.c)
