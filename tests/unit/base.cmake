foreach(module err mem sched loop buf log metrics options text json jtext)
  mg_test(${module} LIBS mg_base)
endforeach()
mg_test(admin LIBS mg_admin mg_base)
