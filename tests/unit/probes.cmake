foreach(module promtext proxy_stats istiod_debug socket injector)
  mg_test(${module} LIBS mg_probes)
endforeach()
