/* Certificates for tests, made in memory. */
#pragma once

/* PEM texts, to be freed with pem_done(). */
struct pem {
    char *ca, *cert, *key;
};

/* A fresh authority and one server certificate of it with these names: "DNS:a,IP:127.0.0.1". */
void pem_init(struct pem *p, const char *names);
void pem_done(struct pem *p);
