/* Certificates for tests, made in memory. */
#pragma once

/* PEM texts, to be freed with pem_done(). */
struct pem {
    char *ca, *cert, *key;
};

/* A fresh authority and one server certificate of it with these names: "DNS:a,IP:127.0.0.1". */
void pem_init(struct pem *p, const char *names);
/* The server's certificate is valid from from_s to to_s, seconds from now. */
void pem_init_valid(struct pem *p, const char *names, long from_s, long to_s);
void pem_done(struct pem *p);
