foreach(module
    drift
    injector
    injector_policy
    istiod_debug
    istiod_status
    json_doc
    local_ip
    match_condition
    promtext
    proxy_stats
    socket)
  mg_test(${module} LIBS mg_probes)
endforeach()
