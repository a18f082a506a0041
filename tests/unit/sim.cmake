mg_test(store LIBS mg_sim)
mg_test(store_watch LIBS mg_sim)
mg_test(simkube LIBS mg_sim)
