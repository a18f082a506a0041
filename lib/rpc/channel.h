/* Inside of lib/rpc. */
#pragma once

#include "pump.h"

struct rpc_channel {
    struct rpc *r;
    grpc_channel *channel;
};
