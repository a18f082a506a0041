foreach(module injector
    injector_policy
    istiod_debug
    json_doc
    local_ip
    match_condition
    promtext
    proxy_stats
    socket)
  mg_test(${module} LIBS mg_probes)
endforeach()
