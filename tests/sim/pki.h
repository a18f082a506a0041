/* Certificates for the embedded mesh, made in the process. Texts are PEM, the caller's to free(). */
#pragma once

#include <stdbool.h>

#include "../../lib/base/err.h"

struct pki_ca;

struct pki_ca *pki_ca_new(const char *organization);
/* From what pki_ca_cert() and pki_ca_key() gave. */
struct pki_ca *pki_ca_load(const char *cert_pem, const char *key_pem, struct err *err);
void pki_ca_free(struct pki_ca *ca);
char *pki_ca_cert(const struct pki_ca *ca);
char *pki_ca_key(const struct pki_ca *ca);
/* A server certificate. common_name NULL: empty subject and critical names, as istiod's. sans: "DNS:a,DNS:b,IP:1.2.3.4". */
void pki_leaf(const struct pki_ca *ca, const char *common_name, const char *sans, bool rsa, char **cert_pem,
              char **key_pem);
/* Base64 without line breaks, as in caBundle and Secrets. */
char *pki_base64(const char *text);
/* NULL when it is none. */
char *pki_unbase64(const char *text);
