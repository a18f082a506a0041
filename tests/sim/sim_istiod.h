/* meshgate-sim istiod: one embedded istiod for a real API server. */
#pragma once

int sim_istiod_main(int argc, char **argv);
