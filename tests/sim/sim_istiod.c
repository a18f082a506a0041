#include "sim_istiod.h"
#include <stdio.h>
int sim_istiod_main(int argc, char **argv) { (void)argc; (void)argv; return 2; }
