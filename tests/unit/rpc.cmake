mg_test(rpc LIBS mg_rpc PkgConfig::OPENSSL SOURCES pem.c)
mg_test(rpc_tls LIBS mg_rpc PkgConfig::OPENSSL SOURCES pem.c)
