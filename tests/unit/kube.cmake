mg_test(kube_config LIBS mg_kube)
mg_test(reflector LIBS mg_kube SOURCES fake_kube.c)
mg_test(kube_status LIBS mg_kube)

# The real transport, for tests/integration/test_kube.py: an HTTPS server that misbehaves on purpose.
mg_program(kube-tool LIBS mg_kube SOURCES kube_tool.c)
