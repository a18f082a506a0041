#include "pem.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"

static EVP_PKEY *make_key(void) {
    EVP_PKEY *k = EVP_EC_gen("P-256");
    check(k != NULL);
    return k;
}

static void extend(X509 *x, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    check(e != NULL && X509_add_ext(x, e, -1) == 1);
    X509_EXTENSION_free(e);
}

static X509 *make_cert(EVP_PKEY *key, const char *name, long serial, X509 *issuer, EVP_PKEY *issuer_key, const char *names,
                       long from_s, long to_s) {
    X509 *x = X509_new();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), serial);
    X509_gmtime_adj(X509_getm_notBefore(x), from_s);
    X509_gmtime_adj(X509_getm_notAfter(x), to_s);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(issuer != NULL ? issuer : x));
    X509_set_pubkey(x, key);
    if (issuer == NULL) {
        extend(x, x, NID_basic_constraints, "critical,CA:TRUE");
        extend(x, x, NID_key_usage, "critical,keyCertSign");
    } else {
        extend(x, issuer, NID_subject_alt_name, names);
    }
    check(X509_sign(x, issuer_key, EVP_sha256()) > 0);
    return x;
}

static char *text_of(BIO *b) {
    char *p;
    long n = BIO_get_mem_data(b, &p);
    char *text = mem_printf("%.*s", (int)n, p);
    BIO_free(b);
    return text;
}

static char *cert_text(X509 *x) {
    BIO *b = BIO_new(BIO_s_mem());
    check(PEM_write_bio_X509(b, x) == 1);
    return text_of(b);
}

void pem_init(struct pem *p, const char *names) {
    pem_init_valid(p, names, -60, 86400);
}

void pem_init_valid(struct pem *p, const char *names, long from_s, long to_s) {
    static int authorities;
    EVP_PKEY *ca_key = make_key(), *key = make_key();
    char *name = mem_printf("test authority %d", ++authorities);
    X509 *ca = make_cert(ca_key, name, 1, NULL, ca_key, NULL, -60, 86400);
    free(name);
    X509 *leaf = make_cert(key, "test server", 2, ca, ca_key, names, from_s, to_s);
    p->ca = cert_text(ca);
    p->cert = cert_text(leaf);
    BIO *b = BIO_new(BIO_s_mem());
    check(PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) == 1);
    p->key = text_of(b);
    X509_free(leaf);
    X509_free(ca);
    EVP_PKEY_free(key);
    EVP_PKEY_free(ca_key);
}

void pem_done(struct pem *p) {
    free(p->ca);
    free(p->cert);
    free(p->key);
}
