foreach(module cli_args cli_table cli_change cli_views cli_seen cli_yaml)
  mg_test(${module} LIBS mg_cli)
endforeach()
