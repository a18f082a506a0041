foreach(module io_ads io_link io_reach io_stream io_http)
  mg_test(${module} LIBS mg_agent_io PkgConfig::OPENSSL SOURCES io_bench.c pem.c)
endforeach()
