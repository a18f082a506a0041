foreach(module promtext proxy_stats istiod_debug json_doc local_ip socket injector)
  mg_test(${module} LIBS mg_probes)
endforeach()
