mg_test(kube_config LIBS mg_kube)
mg_test(reflector LIBS mg_kube SOURCES fake_kube.c)
mg_test(kube_status LIBS mg_kube)

# The real transport against an HTTPS server that misbehaves on purpose.
mg_program(kube-tool LIBS mg_kube SOURCES kube_tool.c)
add_test(NAME integration.kube COMMAND python3 -m pytest -q -p no:cacheprovider ${CMAKE_SOURCE_DIR}/tests/integration/test_kube.py)
set_tests_properties(integration.kube PROPERTIES TIMEOUT 180 ENVIRONMENT "KUBE_TOOL=$<TARGET_FILE:kube-tool>;PYTHONDONTWRITEBYTECODE=1")
