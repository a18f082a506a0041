if(TARGET mg_sim)
  mg_test(sim_istiod LIBS mg_sim mg_probes)
  mg_test(sim_world LIBS mg_sim mg_probes)
endif()
