/* The certificate that a server shows: checked before gRPC sees it, handed to gRPC's threads at each handshake. */
#pragma once

#include <grpc/grpc_security.h>

#include "../base/err.h"

struct cert;

/* The new certificate is put in front of *list and lives until cert_free_all(). */
struct cert *cert_new(struct cert **list, const char *cert_pem, const char *key_pem);
void cert_set(struct cert *c, const char *cert_pem, const char *key_pem);
grpc_server_credentials *cert_credentials(struct cert *c);
void cert_free_all(struct cert *list);
