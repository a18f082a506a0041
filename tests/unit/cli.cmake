foreach(module cli_args cli_table cli_change cli_views)
  mg_test(${module} LIBS mg_cli)
endforeach()
