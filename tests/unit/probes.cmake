foreach(module promtext proxy_stats istiod_debug json_doc socket injector injector_policy match_condition)
  mg_test(${module} LIBS mg_probes)
endforeach()
